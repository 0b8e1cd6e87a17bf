// What an error of PostgreSQL, or of the way to it, means. By SQLSTATE (PostgreSQL manual, appendix A), never by text;
// what has no SQLSTATE did not come from the database and is trouble on the way.
import type { Trouble } from './dialect.ts';

const SQLSTATE = /^[0-9A-Z]{5}$/;

const CODES: Readonly<Record<string, Trouble>> = {
  // unique_violation; serialization_failure, deadlock_detected.
  '23505': 'conflict',
  '40001': 'retry',
  '40P01': 'retry',
  // lock_not_available, read_only_sql_transaction (a standby after a failover), invalid_catalog_name.
  '55P03': 'unavailable',
  '25006': 'unavailable',
  '25P02': 'unavailable',
  '3D000': 'unavailable',
};

/** Connection, authorization, resources, operator intervention (timeouts and shutdown among them), system, configuration. */
const UNAVAILABLE_CLASSES = ['08', '28', '53', '57', '58', 'F0', 'XX'];

export function toPostgresTrouble(error: unknown): Trouble {
  const state = findSqlState(error);
  if (state !== undefined)
    return (
      CODES[state] ?? (UNAVAILABLE_CLASSES.includes(state.slice(0, 2)) ? 'unavailable' : 'bug')
    );
  // Sockets, name look-ups, TLS, and the driver's own time limits.
  return error instanceof TypeError || error instanceof RangeError ? 'bug' : 'unavailable';
}

/** The five characters by which PostgreSQL names an error; `ECONNREFUSED` and its like are none. */
export function findSqlState(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && SQLSTATE.test(code) && typeof severity === 'string'
    ? code
    : undefined;
}
