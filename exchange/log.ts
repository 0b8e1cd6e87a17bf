// The exchange's own small logger: one line per step on standard output, for a person (`kubectl logs -c
// coatcheck-exchange`) or, when asked, as JSON with the field names of the other processes.
import { writeSync } from 'node:fs';
import type { Clock } from '../common/clock.ts';

export type Fields = Readonly<Record<string, string | number | undefined>>;

export interface Log {
  /** `message` is constant; what differs is in `fields`. */
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

export interface LogOptions {
  format: 'text' | 'json';
  clock: Clock;
  write: (line: string) => void;
}

export function createLog({ format, clock, write }: LogOptions): Log {
  const render = format === 'json' ? renderJson : renderText;
  const at =
    (level: string) =>
    (message: string, fields: Fields = {}) =>
      write(render({ time: new Date(clock.now()).toISOString(), level, message }, fields));
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

interface Line {
  time: string;
  level: string;
  message: string;
}

function renderJson({ time, level, message }: Line, fields: Fields): string {
  return `${JSON.stringify({ level, time, process: 'exchange', ...fields, msg: message })}\n`;
}

function renderText({ time, level, message }: Line, fields: Fields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${quote(String(value))}`);
  return `${time} ${level.padEnd(5)} ${message}${pairs.join('')}\n`;
}

function quote(value: string): string {
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/** Writes at once and past the runtime's streams, which cost milliseconds to set up. A closed pipe is no failure. */
export function writeStdout(line: string): void {
  try {
    writeSync(1, line);
  } catch {
    // Nobody reads; the token matters more than the line.
  }
}
