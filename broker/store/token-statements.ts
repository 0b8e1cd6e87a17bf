// The statements that every opaque token costs, as constant text: prepared once, not built anew for each group. Names and
// values alone differ between the databases in how a list is handed over.
import type { Insertable } from 'kysely';
import type { TokenTable } from './schema.ts';

export type NewTokenRow = Required<Insertable<Omit<TokenTable, 'seq'>>>;

/** In the order of the values. */
const TYPES = {
  hash: 'text',
  accessor: 'text',
  kind: 'text',
  subject: 'text',
  cluster: 'text',
  namespace: 'text',
  service_account: 'text',
  service_account_uid: 'text',
  pod_name: 'text',
  pod_uid: 'text',
  audience: 'text',
  role: 'text',
  scopes: 'text',
  policies: 'text',
  live_name: 'text',
  description: 'text',
  issued_at: 'bigint',
  expires_at: 'bigint',
  max_expires_at: 'bigint',
  facts: 'text',
} as const satisfies Record<keyof NewTokenRow, string>;

const COLUMNS = Object.keys(TYPES) as (keyof NewTokenRow)[];
const INTO = `INSERT INTO coatcheck_tokens (${COLUMNS.join(', ')})`;

export function toValues(row: NewTokenRow): (string | number | null)[] {
  return COLUMNS.map((column) => row[column]);
}

/** One row a time: a call into SQLite is cheaper than a list. */
export const SQLITE_INSERT = `${INTO} VALUES (${COLUMNS.map(() => '?').join(', ')}) ON CONFLICT DO NOTHING`;

const UNNEST = COLUMNS.map((column, index) => `$${index + 1}::${TYPES[column]}[]`).join(', ');

/** A list per column; gives the hashes that went in. */
export const POSTGRES_INSERT = `${INTO} SELECT * FROM unnest(${UNNEST}) ON CONFLICT DO NOTHING RETURNING hash`;

export function toLists(rows: readonly NewTokenRow[]): (string | number | null)[][] {
  return COLUMNS.map((column) => rows.map((row) => row[column]));
}

// `+ 0` keeps the planner from the index by time, which would lead through every live token there is.
const LIVE = `kind = 'client' AND expires_at + 0 >`;

/** The newest that is one too many of each owner, and all that are older. */
function toEndOldest(owners: string, [now, max]: readonly [string, string]): string {
  return `WITH crowded AS MATERIALIZED (
    SELECT subject, pod_uid, (
      SELECT seq FROM coatcheck_tokens AS own
      WHERE own.subject = owner.subject AND own.pod_uid = owner.pod_uid AND ${LIVE} ${now}
      ORDER BY seq DESC LIMIT 1 OFFSET ${max}
    ) AS last FROM ${owners}
  )
  DELETE FROM coatcheck_tokens WHERE seq IN (
    SELECT old.seq FROM crowded CROSS JOIN coatcheck_tokens AS old
    WHERE crowded.last IS NOT NULL AND old.subject = crowded.subject AND old.pod_uid = crowded.pod_uid
      AND old.seq <= crowded.last AND ${LIVE} ${now}
  ) RETURNING hash`;
}

/** Owners as JSON `[[subject, pod uid], …]`, now, how many may live. */
export const SQLITE_END_OLDEST = toEndOldest(
  '(SELECT value ->> 0 AS subject, value ->> 1 AS pod_uid FROM json_each(?1)) AS owner',
  ['?2', '?3'],
);

/** Subjects, pod uids, now, how many may live. */
export const POSTGRES_END_OLDEST = toEndOldest(
  'unnest($1::text[], $2::text[]) AS owner (subject, pod_uid)',
  ['$3::bigint', '$4::bigint'],
);
