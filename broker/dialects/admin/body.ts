// The body of a request: JSON in UTF-8 and nothing else, bounded. Read only after the caller was let in.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { isDeeperThan } from '../../../common/documents.ts';
import { breathe } from '../../breathe.ts';
import { BrokerError } from '../../errors.ts';
import { RequestRefused } from './errors.ts';

export const MAX_BODY_BYTES = 256 * 1024;
/** A body that is too long is read to its end and dropped, so that the client hears our answer; beyond this it is cut. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024;
/** A role has 32 levels at most (roles/schema.ts); what is deeper is for its own check to tell. */
const MAX_DEPTH = 64;
const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** @throws BrokerError `media_type_unsupported`, `body_too_large`, `document_invalid` */
export async function readJson(
  request: IncomingMessage,
  maxBytes = MAX_BODY_BYTES,
): Promise<unknown> {
  const { headers } = request;
  if (!JSON_TYPE.test(headers['content-type'] ?? ''))
    throw new BrokerError('media_type_unsupported', 'another content type');
  if (headers['content-encoding'] !== undefined)
    throw new BrokerError('media_type_unsupported', 'a content encoding');
  const bytes = await readBytes(request, maxBytes);
  const isLong = bytes.length > MAX_BODY_BYTES;
  if (!isUtf8(bytes)) throw toInvalid('must be UTF-8');
  const text = bytes.toString('utf8');
  // Each of these steps takes 5 to 20 ms for 4 MiB; others have their turn between them.
  if (isLong) await breathe();
  const value = parse(text);
  if (isLong) await breathe();
  // Before anything walks it: schemas recurse.
  if (isDeeperThan(value, MAX_DEPTH)) throw toInvalid(`must be at most ${MAX_DEPTH} levels deep`);
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The parser's message quotes the text, which may hold a secret.
    throw toInvalid('must be JSON');
  }
}

function toInvalid(problem: string): RequestRefused {
  return new RequestRefused('document_invalid', [{ path: '', problem: `the body ${problem}` }]);
}

async function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else if (length > MAX_DISCARDED_BYTES) break;
    }
  } catch {
    throw toInvalid('broke off');
  }
  if (length > maxBytes) throw new BrokerError('body_too_large', `more than ${maxBytes} bytes`);
  return Buffer.concat(chunks, length);
}
