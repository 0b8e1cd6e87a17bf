// The tables as Kysely knows them; the migrations make them. Every name begins with the product's, because a PostgreSQL
// database may be shared. Times are BIGINT, JSON is TEXT, in both dialects.
import type { Generated, Selectable } from 'kysely';

export interface TokenTable {
  /** Counts up with each insert: the order of lists, and which of an identity's tokens is the oldest. */
  readonly seq: Generated<number>;
  readonly hash: string;
  readonly accessor: string;
  readonly kind: string;
  readonly subject: string;
  readonly cluster: string | null;
  readonly namespace: string | null;
  readonly service_account: string | null;
  readonly service_account_uid: string | null;
  readonly pod_name: string | null;
  /** Empty where there is no pod: the bound per identity counts by subject and pod. */
  readonly pod_uid: string;
  readonly audience: string | null;
  readonly role: string | null;
  readonly scopes: string;
  readonly policies: string;
  /** The name of a static token; unique. */
  readonly live_name: string | null;
  readonly description: string | null;
  readonly issued_at: number;
  readonly expires_at: number;
  readonly max_expires_at: number;
  readonly facts: string;
}

/** Bootstrap tokens that were ever taken into use; never swept. */
export interface UsedTokenRow {
  readonly hash: string;
  readonly used_at: number;
}

export interface DenialRow {
  readonly id: string;
  readonly token_id: string | null;
  readonly match: string | null;
  readonly issued_before: number | null;
  readonly until: number;
  readonly created_at: number;
  readonly created_by: string;
}

export interface RoleRow {
  readonly name: string;
  readonly document: string;
  readonly version: number;
  readonly updated_at: number;
  readonly updated_by: string;
}

export interface KeyRow {
  readonly kid: string;
  readonly sealed: string;
  readonly created_at: number;
  readonly signs_from: number;
  readonly retires_at: number | null;
}

export interface ClientRow {
  readonly id: string;
  readonly name: string | null;
  readonly description: string | null;
  readonly secret_hashes: string;
  readonly jwks: string | null;
  readonly created_at: number;
  readonly created_by: string;
}

export interface DecisionTable {
  readonly seq: Generated<number>;
  readonly id: string;
  readonly at: number;
  readonly outcome: string;
  readonly cluster: string | null;
  readonly namespace: string | null;
  readonly service_account: string | null;
  readonly pod: string | null;
  readonly pod_uid: string | null;
  readonly audience: string | null;
  readonly role: string | null;
  readonly reason: string | null;
  readonly token_id: string | null;
  readonly token_expires_at: number | null;
  readonly record: string;
}

export interface DeathRow {
  readonly cluster: string;
  readonly uid: string;
  readonly kind: string;
  readonly died_at: number;
  readonly reported_at: number;
  readonly until: number;
}

export interface ClusterRow {
  readonly name: string;
  readonly document: string;
  readonly version: number;
  readonly updated_at: number;
  readonly updated_by: string;
}

export interface ClusterKeysRow {
  readonly cluster: string;
  readonly registration: string;
  readonly jwks: string;
  readonly version: number;
  readonly pushed_at: number;
  readonly pushed_by: string;
}

/** One row per thing that one replica at a time may do. */
export interface LeaseRow {
  readonly name: string;
  readonly holder: string;
  readonly until: number;
}

/** Numbers that only go up. */
export interface CounterRow {
  readonly name: string;
  readonly value: number;
}

export type TokenRow = Selectable<TokenTable>;
export type DecisionRow = Selectable<DecisionTable>;

export interface Tables {
  readonly coatcheck_tokens: TokenTable;
  readonly coatcheck_used_tokens: UsedTokenRow;
  readonly coatcheck_denials: DenialRow;
  readonly coatcheck_deaths: DeathRow;
  readonly coatcheck_roles: RoleRow;
  readonly coatcheck_clusters: ClusterRow;
  readonly coatcheck_cluster_keys: ClusterKeysRow;
  readonly coatcheck_keys: KeyRow;
  readonly coatcheck_clients: ClientRow;
  readonly coatcheck_decisions: DecisionTable;
  readonly coatcheck_leases: LeaseRow;
  readonly coatcheck_counters: CounterRow;
}
