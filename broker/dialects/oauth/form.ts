// The body of a request to the token endpoint: application/x-www-form-urlencoded and nothing else, strictly. A lenient
// reader is where two parties come to see two different requests.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { BrokerError } from '../../errors.ts';

export const MAX_BODY_BYTES = 64 * 1024;
/** A body that is too long is read to its end and dropped, so that the client hears our answer; beyond this it is cut. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024;
const MAX_PARAMETERS = 64;
const FORM = /^application\/x-www-form-urlencoded\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** Parameters by name; empty values count as absent (RFC 6749 §3.2), so no list is empty and no value either. */
export type Form = ReadonlyMap<string, readonly string[]>;

/** @throws BrokerError `body_invalid` */
export async function readForm(request: IncomingMessage): Promise<Form> {
  const bytes = await readBody(request);
  if (!FORM.test(request.headers['content-type'] ?? ''))
    throw new BrokerError('body_invalid', 'another content type');
  if (request.headers['content-encoding'] !== undefined)
    throw new BrokerError('body_invalid', 'a content encoding');
  return parseForm(bytes);
}

/** By events: on the hot path an async iterator is a dozen promises for nothing. */
function readBody(request: IncomingMessage): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    else if (length > MAX_DISCARDED_BYTES) {
      reject(tooLong());
      request.destroy();
    }
  });
  request.once('end', () => {
    if (length > MAX_BODY_BYTES) reject(tooLong());
    else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length));
  });
  request.once('error', reject);
  request.once('close', () => {
    if (!request.complete) reject(new BrokerError('body_invalid', 'the connection broke'));
  });
  return promise;
}

function tooLong(): BrokerError {
  return new BrokerError('body_invalid', 'more than 64 KiB');
}

/** @throws BrokerError `body_invalid` for what is not UTF-8, not percent-encoded, or far too many parameters. */
export function parseForm(bytes: Buffer): Form {
  const form = new Map<string, string[]>();
  const pairs = decodeUtf8(bytes).split('&');
  if (pairs.length > MAX_PARAMETERS)
    throw new BrokerError('body_invalid', `more than ${MAX_PARAMETERS} parameters`);
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = decodePart(at === -1 ? pair : pair.slice(0, at));
    const value = at === -1 ? '' : decodePart(pair.slice(at + 1));
    if (name === '' || value === '') continue;
    const values = form.get(name);
    if (values) values.push(value);
    else form.set(name, [value]);
  }
  return form;
}

function decodeUtf8(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new BrokerError('body_invalid', 'not UTF-8');
  return bytes.toString('utf8');
}

function decodePart(text: string): string {
  try {
    // decodeURIComponent refuses stray percent signs and bytes that are no UTF-8, where URLSearchParams would guess.
    return text.includes('%') || text.includes('+')
      ? decodeURIComponent(text.replaceAll('+', ' '))
      : text;
  } catch {
    // Without the cause: its message quotes nothing today, but it is not ours to promise.
    throw new BrokerError('body_invalid', 'a parameter is not percent-encoded UTF-8');
  }
}
