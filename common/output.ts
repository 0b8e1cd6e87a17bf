// Standard output of a process, one writer for everything that goes there: two on one pipe would cut into one another's
// lines. Lines of one turn of the event loop go out in one write; what is not written yet is counted and bounded, so
// that a reader that stands still costs neither our memory nor, unnoticed, our audit trail.
import { write, writeSync } from 'node:fs';

export interface Output {
  /** Takes a whole line, with its newline. */
  write(line: string): void;
  /** Calls back when everything written so far is out, or with why it never will be. */
  flush(done: (error?: Error) => void): void;
  /** Bytes taken and not written yet; Infinity once the reader is gone. */
  pendingBytes(): number;
  /** Lines that were dropped since the start, because too much was pending or the reader was gone. */
  lostLines(): number;
}

/** Twice what stops the audit (broker/audit.ts): whoever issues nothing more still gets to say so. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
// A pipe whose reader is slow and which somebody made non-blocking.
const RETRY_MS = 10;

export interface OutputOptions {
  maxPendingBytes?: number;
  /**
   * How long lines are gathered before they are written; 0 is until the end of this turn of the event loop, which an audit
   * trail wants. A write of its own for every line costs as much as making the line.
   */
  gatherMs?: number;
}

/**
 * @param fd an open file descriptor; 1 is standard output. After an error (the reader is gone) nothing is written any
 * more.
 */
export function openOutput(
  fd: number,
  { maxPendingBytes = MAX_PENDING_BYTES, gatherMs = 0 }: OutputOptions = {},
): Output {
  let queue: string[] = [];
  let pending = 0;
  let lost = 0;
  let isGapTold = true;
  let isBusy = false;
  /** Of a write that has to be tried again; nothing of it is on its way. */
  let unwritten: Buffer | undefined;
  let failure: Error | undefined;
  let waiting: ((error?: Error) => void)[] = [];

  function settle(): void {
    isBusy = false;
    const settled = waiting;
    waiting = [];
    for (const done of settled) done(failure);
  }

  function enqueue(line: string): void {
    queue.push(line);
    pending += Buffer.byteLength(line);
  }

  function pump(): void {
    if (queue.length === 0) {
      settle();
      return;
    }
    const bytes = Buffer.from(queue.join(''));
    queue = [];
    writeAll(bytes);
  }

  function writeAll(bytes: Buffer): void {
    unwritten = undefined;
    write(fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        unwritten = bytes;
        setTimeout(() => writeAll(bytes), RETRY_MS);
        return;
      }
      if (error) {
        failure = error;
        lost += queue.length;
        queue = [];
        settle();
        return;
      }
      pending -= written;
      if (written < bytes.length) {
        writeAll(bytes.subarray(written));
        return;
      }
      if (!isGapTold) {
        isGapTold = true;
        enqueue(toGapLine(lost));
      }
      pump();
    });
  }

  // Whatever ends the process in an orderly way, an uncaught error included, takes the last lines along.
  process.once('exit', () => {
    if (!failure) writeLast(fd, Buffer.concat([unwritten ?? Buffer.alloc(0), toBytes(queue)]));
  });

  return {
    write: (line) => {
      if (failure || pending >= maxPendingBytes) {
        lost += 1;
        isGapTold = false;
        return;
      }
      enqueue(line);
      if (isBusy) return;
      isBusy = true;
      if (gatherMs === 0) setImmediate(pump);
      else setTimeout(pump, gatherMs);
    },
    flush: (done) => {
      if (isBusy) waiting.push(done);
      else done(failure);
    },
    pendingBytes: () => (failure ? Number.POSITIVE_INFINITY : pending),
    lostLines: () => lost,
  };
}

/** Stands in the stream where lines are missing, so that a trail with a gap does not look like a whole one. */
function toGapLine(lost: number): string {
  return `${JSON.stringify({ level: 'error', lostLines: lost, msg: 'lines were lost: standard output was not read' })}\n`;
}

function toBytes(lines: readonly string[]): Buffer {
  return Buffer.from(lines.join(''));
}

/** The process is ending: what cannot be written now is lost, and no reason to end it otherwise. */
function writeLast(fd: number, bytes: Buffer): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  } catch {
    // The reader is gone, or does not read.
  }
}
