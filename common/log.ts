// The logger of the server processes: JSON lines, a constant message, facts as fields. Redaction by key and by
// shape happens here and only here. The exchange has a smaller logger of its own (it may import node: only).
import { type DestinationStream, destination, type Logger, pino, stdSerializers } from 'pino';
import { scrubTokens } from './secret.ts';

export type { Logger } from 'pino';
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

// Keys that must never carry a value to a log, wherever a field object holds them.
const SECRET_KEYS = [
  'authorization',
  'cookie',
  'token',
  'subject_token',
  'access_token',
  'refresh_token',
  'client_secret',
  'client_assertion',
  'jwt',
  'password',
  'secret',
  'privateKey',
  'key',
];

export interface LoggerOptions {
  level: LogLevel;
  /** Name of the process, a field on every line. */
  process: string;
  /** Where lines go; standard output unless a test gives its own. */
  stream?: DestinationStream;
}

/** Creates the one logger of a process; everyone else receives it or a child of it. */
export function createLogger({ level, process: name, stream }: LoggerOptions): Logger {
  const out = stream ?? destination({ fd: 1, sync: false });
  const scrubbing: DestinationStream = { write: (line) => out.write(scrubTokens(line)) };
  const logger = pino(
    {
      level,
      base: { process: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.err, error: stdSerializers.err },
      redact: {
        paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`]),
        censor: '[redacted]',
      },
    },
    scrubbing,
  );
  return logger;
}
