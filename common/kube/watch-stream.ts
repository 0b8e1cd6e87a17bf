// The events of one watch, read from an answer that goes on: JSON objects, one per line.
import type { IncomingMessage } from 'node:http';
import { KubeError } from './error.ts';

export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: KubeObject;
}

// etcd keeps objects of 1.5 MiB at most; an event states the object once.
const MAX_EVENT_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Calls `onEvent` for each event in order, and resolves when the other side ends the answer.
 * @throws KubeError for what is no event, and for an event of type ERROR with the status in it (410: relist)
 */
export async function readWatchEvents(
  response: IncomingMessage,
  onEvent: (event: WatchEvent) => void,
): Promise<void> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  const take = (piece: Buffer): void => {
    bytes += piece.length;
    if (bytes > MAX_EVENT_BYTES)
      throw new KubeError('unavailable', `sent an event of more than ${MAX_EVENT_BYTES} bytes`);
    pieces.push(piece);
  };
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        take(chunk.subarray(from, end));
        const line = Buffer.concat(pieces).toString('utf8');
        pieces = [];
        bytes = 0;
        from = end + 1;
        if (line.trim() !== '') onEvent(toWatchEvent(line));
      }
      if (from < chunk.length) take(chunk.subarray(from));
    }
  } catch (cause) {
    if (cause instanceof KubeError) throw cause;
    throw new KubeError('unavailable', 'the connection failed', { cause });
  } finally {
    response.destroy();
  }
}

const TYPES: ReadonlySet<unknown> = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

function toWatchEvent(line: string): WatchEvent {
  const { type, object } = parse(line);
  if (type === 'ERROR') {
    const code = (Object(object) as { code?: unknown }).code;
    const status = typeof code === 'number' ? { status: code } : {};
    throw new KubeError('unavailable', 'the watch ended with an error', status);
  }
  if (!TYPES.has(type) || !isKubeObject(object))
    throw new KubeError('unavailable', 'sent something that is no event of a watch');
  return { type: type as WatchEvent['type'], object };
}

/** A bookmark's object has no name; everything else that is stored does. */
export function isKubeObject(value: unknown): value is KubeObject {
  const { metadata } = Object(value) as { metadata?: unknown };
  return typeof metadata === 'object' && metadata !== null;
}

function parse(line: string): { type?: unknown; object?: unknown } {
  try {
    return Object(JSON.parse(line)) as { type?: unknown; object?: unknown };
  } catch {
    throw new KubeError('unavailable', 'sent something that is not JSON');
  }
}
