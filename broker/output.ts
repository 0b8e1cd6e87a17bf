// Standard output of the process, one writer for log and audit: two on one pipe would cut into one another's lines. Lines
// of one turn of the event loop go out in one write; what is not written yet is counted, so that the audit can refuse to
// run ahead of it.
import { write, writeSync } from 'node:fs';
import type { AuditStream } from './audit.ts';

export interface Output extends Required<AuditStream> {
  write(line: string): void;
}

// A pipe whose reader is slow and which somebody made non-blocking.
const RETRY_MS = 10;

/**
 * @param fd an open file descriptor; 1 is standard output. After an error (the reader is gone) nothing is written any
 * more and {@link Output.pendingBytes} is Infinity.
 */
export function openOutput(fd: number): Output {
  let queue: string[] = [];
  let pending = 0;
  let isBusy = false;
  let failure: Error | undefined;
  let waiting: ((error?: Error) => void)[] = [];

  function settle(): void {
    isBusy = false;
    const settled = waiting;
    waiting = [];
    for (const done of settled) done(failure);
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
    write(fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => writeAll(bytes), RETRY_MS);
        return;
      }
      if (error) {
        failure = error;
        queue = [];
        settle();
        return;
      }
      pending -= written;
      if (written < bytes.length) writeAll(bytes.subarray(written));
      else pump();
    });
  }

  // Whatever ends the process in an orderly way, an uncaught error included, takes the last lines along.
  process.once('exit', () => {
    if (queue.length > 0) writeSync(fd, queue.join(''));
  });

  return {
    write: (line) => {
      if (failure) return;
      queue.push(line);
      pending += Buffer.byteLength(line);
      if (isBusy) return;
      isBusy = true;
      setImmediate(pump);
    },
    flush: (done) => {
      if (isBusy) waiting.push(done);
      else done(failure);
    },
    pendingBytes: () => (failure ? Number.POSITIVE_INFINITY : pending),
  };
}
