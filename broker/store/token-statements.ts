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

/** Owners as JSON `[[subject, pod uid], …]`, now, how many may live: the newest that is one too many of each, and all before. */
export const SQLITE_END_OLDEST = `WITH crowded AS MATERIALIZED (
    SELECT subject, pod_uid, (
      SELECT seq FROM coatcheck_tokens AS own
      WHERE own.subject = owner.subject AND own.pod_uid = owner.pod_uid AND ${LIVE} ?2
      ORDER BY seq DESC LIMIT 1 OFFSET ?3
    ) AS last FROM (SELECT value ->> 0 AS subject, value ->> 1 AS pod_uid FROM json_each(?1)) AS owner
  )
  DELETE FROM coatcheck_tokens WHERE seq IN (
    SELECT old.seq FROM crowded CROSS JOIN coatcheck_tokens AS old
    WHERE crowded.last IS NOT NULL AND old.subject = crowded.subject AND old.pod_uid = crowded.pod_uid
      AND old.seq <= crowded.last AND ${LIVE} ?2
  ) RETURNING hash`;

const isOf = (token: string, owner: string, last: string) =>
  `(${token}.pod_uid, ${token}.subject) >= (${owner}.pod_uid, ${owner}.subject)
        AND (${token}.pod_uid, ${token}.subject, ${token}.seq) <= (${owner}.pod_uid, ${owner}.subject, ${last})`;
const newestFirst = (token: string) =>
  `ORDER BY ${token}.pod_uid DESC, ${token}.subject DESC, ${token}.seq DESC`;
const BIGGEST_SEQ = '9223372036854775807';

/**
 * Subjects, pod uids, now, how many may live. Whole rows are compared, and what is to go is found owner by owner: planned
 * while the table was all but empty, an equality of columns costs as little by the index of subject and seq, and that plan,
 * once kept, walks through every token of a ServiceAccount for every group of new ones.
 */
export const POSTGRES_END_OLDEST = `WITH crowded AS MATERIALIZED (
    SELECT subject, pod_uid, (
      SELECT seq FROM coatcheck_tokens AS own
      WHERE ${isOf('own', 'owner', BIGGEST_SEQ)} AND ${LIVE} $3::bigint
      ${newestFirst('own')} LIMIT 1 OFFSET $4::bigint
    ) AS last FROM unnest($1::text[], $2::text[]) AS owner (subject, pod_uid)
  )
  DELETE FROM coatcheck_tokens WHERE seq IN (
    SELECT one.seq FROM crowded CROSS JOIN LATERAL (
      SELECT old.seq FROM coatcheck_tokens AS old
      WHERE ${isOf('old', 'crowded', 'crowded.last')} AND ${LIVE} $3::bigint
      ${newestFirst('old')} OFFSET 0
    ) AS one WHERE crowded.last IS NOT NULL
  ) RETURNING hash`;
