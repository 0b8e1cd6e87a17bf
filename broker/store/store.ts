// What the broker keeps, as contracts: one small interface per need. sqlite and PostgreSQL answer all of them alike
// (test/broker/store holds both to one suite); with `none` there is no store, and what needs one says so.
// Times are whole seconds since the epoch, identifiers are text. No token is ever given to a store, only its hash.

export type StoreKind = 'none' | 'sqlite' | 'postgres';

/**
 * The three ways a store says no. `unavailable`: nothing is known to have happened, and the same call may work later.
 * A write that was answered is durable: it survives kill -9 of the broker and, with PostgreSQL, of the database.
 */
export class StoreError extends Error {
  readonly kind: 'not_found' | 'conflict' | 'unavailable';

  constructor(kind: StoreError['kind'], message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = 'StoreError';
    this.kind = kind;
  }
}

/** Whose a token is, in the columns that bulk revocation and lists filter by. Members that do not apply are absent. */
export interface TokenOwner {
  /** `sub` of the token: `k8s:…`, `oidc:…`, `client:…`, `user:…`. */
  readonly subject: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly serviceAccountUid?: string;
  readonly podName?: string;
  readonly podUid?: string;
}

/** One token that is looked up and not verified: an opaque client token, or a static one. */
export interface StoredToken extends TokenOwner {
  /** SHA-256 of the whole token, hex: the key. */
  readonly hash: string;
  /** 24 base62 characters; unique, names the token wherever people name it, gives no access. */
  readonly accessor: string;
  /** `client`: an exchange gave it out. `static`: somebody made it by name, with policies. */
  readonly kind: 'client' | 'static';
  /** Absent only for static tokens that open nothing but the broker itself. */
  readonly audience?: string;
  /** The role of a client token. */
  readonly role?: string;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  /** Of a static token: unique among the live ones. */
  readonly name?: string;
  readonly description?: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** No renewal goes beyond; equals `expiresAt` where there is none. */
  readonly maxExpiresAt: number;
  /** JSON that the store does not look into: what authorize() needs to decide again, extra claims, who made it. */
  readonly facts: unknown;
}

/** Every member that is stated must fit; at least one is. */
export interface TokenFilter {
  readonly kind?: StoredToken['kind'];
  readonly subject?: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly podName?: string;
  readonly podUid?: string;
  readonly role?: string;
  readonly audience?: string;
}

export interface Page {
  /** At most so many; 1 to 1000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string;
}

export interface PageOf<T> {
  readonly items: readonly T[];
  /** Absent on the last page. */
  readonly next?: string;
}

export interface TokenStore {
  /**
   * Durable when it resolves. Where the identity (subject and pod uid) then has more than `maxPerIdentity` live client
   * tokens, its oldest end at once.
   * @throws StoreError conflict: the hash, the accessor, or the name of a live static token is taken
   */
  insert(token: StoredToken, limits?: { readonly maxPerIdentity?: number }): Promise<void>;
  /** Live or not is for the caller to see from `expiresAt`; a revoked one is not found. */
  findByHash(hash: string): Promise<StoredToken | undefined>;
  findByAccessor(accessor: string): Promise<StoredToken | undefined>;
  /** Live ones, newest first. @throws StoreError not_found where `after` is no `next` of ours */
  list(filter: TokenFilter, page: Page): Promise<PageOf<StoredToken>>;
  /**
   * Sets the new end of a token that is still there and has not ended at `now`.
   * @throws StoreError not_found
   */
  extend(hash: string, to: { readonly expiresAt: number; readonly now: number }): Promise<void>;
  /** Resolves to whether there was one. Other replicas know at once. */
  revoke(hash: string): Promise<boolean>;
  /** Revokes every live token that fits; resolves to how many. */
  revokeWhere(filter: TokenFilter): Promise<number>;
  /** Live tokens now, by kind: for a gauge, cheap, may lag. */
  count(): Promise<Readonly<Record<StoredToken['kind'], number>>>;
  /**
   * Takes a bootstrap token into use once for ever: false where a token of this hash was ever taken before, whatever
   * became of it since. Survives restarts and sweeps.
   */
  insertOnce(token: StoredToken): Promise<boolean>;
}

/** Why tokens that nobody stored (JWTs) are refused before their time. */
export interface Denial {
  readonly id: string;
  /** The `jti` of one token; without it every stated member of `match` must fit, and `issuedBefore` holds. */
  readonly tokenId?: string;
  readonly match?: TokenFilter;
  /** Tokens whose `iat` is smaller. With `match` only. */
  readonly issuedBefore?: number;
  /** From then on no token can be alive that it is about; it is swept. */
  readonly until: number;
  readonly createdAt: number;
  /** Who asked for it, for people: `client:…`, `k8s:…`, `self`. */
  readonly by: string;
}

export interface DenialStore {
  /** Durable when it resolves. @throws StoreError conflict: the id is taken */
  add(denial: Denial): Promise<void>;
  /** Those whose `until` is after `now`. */
  list(now: number): Promise<readonly Denial[]>;
  /** Those of these ids that there are; for a mirror that was told of them. */
  findMany(ids: readonly string[]): Promise<readonly Denial[]>;
}

/** A pod or ServiceAccount that is gone; its tokens are dead. */
export interface StoredDeath {
  readonly cluster: string;
  readonly kind: 'Pod' | 'ServiceAccount';
  readonly uid: string;
  readonly diedAt: number;
  /** When a broker first heard of it. */
  readonly reportedAt: number;
  /** From then on no token can be alive that names it; it is swept. */
  readonly until: number;
}

export interface DeathStore {
  /** Durable when it resolves, in part where it rejects; to those that were not there. Other replicas know at once. */
  add(deaths: readonly StoredDeath[]): Promise<readonly StoredDeath[]>;
  /** Those whose `until` is after `now` and that were reported then or later, the earliest first. */
  list(range: {
    readonly now: number;
    readonly reportedSince: number;
  }): Promise<readonly StoredDeath[]>;
  /** Those of these uids that there are. */
  findMany(cluster: string, uids: readonly string[]): Promise<readonly StoredDeath[]>;
}

export interface StoredRole {
  readonly name: string;
  /** The TokenRole document, as it was accepted. */
  readonly document: unknown;
  /** Counts up with each write, and is never used again for another role of the name. */
  readonly version: number;
  readonly updatedAt: number;
  readonly updatedBy: string;
}

export interface RoleStore {
  list(): Promise<readonly StoredRole[]>;
  find(name: string): Promise<StoredRole | undefined>;
  /**
   * Creates or replaces; atomically, against two writers at once.
   * @param expectedVersion 0: it must not exist; n: it must be at n; absent: whatever is there is replaced
   * @throws StoreError conflict
   */
  put(
    role: Pick<StoredRole, 'name' | 'document' | 'updatedAt' | 'updatedBy'>,
    expectedVersion?: number,
  ): Promise<StoredRole>;
  /** Resolves to whether there was one. */
  remove(name: string): Promise<boolean>;
}

/** A cluster or issuer that was registered through the API. */
export interface StoredCluster {
  readonly name: string;
  /** Its entry of the clusters table, as it was accepted. */
  readonly document: unknown;
  /** Counts up with each write to any of them, and is never used again. */
  readonly version: number;
  readonly updatedAt: number;
  readonly updatedBy: string;
}

/** The keys that a cluster's controller pushed last. */
export interface StoredClusterKeys {
  readonly cluster: string;
  /** What the cluster was registered with; keys of another registration of the name count no more. */
  readonly registration: string;
  /** A JWKS with public members alone. */
  readonly jwks: string;
  /** Another one where the set is another one; as {@link StoredCluster.version}. */
  readonly version: number;
  /** When it was last said that these are the keys. */
  readonly pushedAt: number;
  readonly pushedBy: string;
}

export interface StoredClusters {
  readonly clusters: readonly StoredCluster[];
  readonly keys: readonly StoredClusterKeys[];
}

export interface ClusterStore {
  /** Everything, as of one moment or close to it. */
  read(): Promise<StoredClusters>;
  /**
   * Creates or replaces; keys that were pushed under another registration go.
   * @param options.expectedVersion as for roles
   * @param options.check sees what is there, and nobody writes until this write is done; what it throws is thrown
   * @throws StoreError conflict
   */
  put(
    cluster: Omit<StoredCluster, 'version'>,
    options: {
      readonly expectedVersion?: number | undefined;
      /** Absent where its keys are not pushed. */
      readonly registration?: string | undefined;
      readonly check: (all: StoredClusters) => void;
    },
  ): Promise<StoredCluster>;
  /** Resolves to whether there was one; what was pushed for it goes too, unless `keepsKeys`. */
  remove(name: string, options?: { readonly keepsKeys?: boolean }): Promise<boolean>;
  /** @param check as in {@link ClusterStore.put} */
  putKeys(
    keys: Omit<StoredClusterKeys, 'version'>,
    check: (all: StoredClusters) => void,
  ): Promise<StoredClusterKeys>;
}

/** A signing key, sealed; the store cannot read it, and cannot make one that will be believed. */
export interface StoredKey {
  readonly kid: string;
  /** AES-256-GCM of the private key, with the name of the sealing key: opaque to the store. */
  readonly sealed: string;
  readonly createdAt: number;
  /** From then on it signs: after every receiver can know it. */
  readonly signsFrom: number;
  /** From then on it is not published any more; absent while it, or a token of it, lives. */
  readonly retiresAt?: number;
}

export interface KeyStore {
  list(): Promise<readonly StoredKey[]>;
  /** @throws StoreError conflict: the kid is taken, or, with `onlyIfNone`, there is any key at all */
  insert(key: StoredKey, options?: { readonly onlyIfNone?: boolean }): Promise<void>;
  /** @throws StoreError not_found */
  update(kid: string, change: Partial<Pick<StoredKey, 'sealed' | 'retiresAt'>>): Promise<void>;
  remove(kid: string): Promise<boolean>;
}

/** A registered OAuth client: a service that introspects, or (later) asks for tokens of its own. */
export interface StoredClient {
  /** No colon. */
  readonly id: string;
  readonly name?: string;
  readonly description?: string;
  /** Password hashes (argon2id, PHC string); two while a secret is rotated. */
  readonly secretHashes: readonly string[];
  /** Public keys for `private_key_jwt` (RFC 7523), a JWKS. */
  readonly jwks?: unknown;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface ClientStore {
  list(): Promise<readonly StoredClient[]>;
  find(id: string): Promise<StoredClient | undefined>;
  /** @throws StoreError conflict where `mustBeNew` and the id is taken */
  put(client: StoredClient, options?: { readonly mustBeNew?: boolean }): Promise<void>;
  remove(id: string): Promise<boolean>;
}

/** One decision as people look it up; `record` is the whole DecisionRecord (broker/decision-record.ts). */
export interface StoredDecision {
  /** Correlation id; not unique over dialects and time, so not the key. */
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly outcome: 'allow' | 'deny' | 'failure';
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly audience?: string;
  readonly role?: string;
  readonly reason?: string;
  /** `jti` or accessor of what was issued, and when it ends. */
  readonly tokenId?: string;
  readonly tokenExpiresAt?: number;
  readonly record: unknown;
}

export type DecisionFilter = Partial<
  Pick<
    StoredDecision,
    | 'outcome'
    | 'cluster'
    | 'namespace'
    | 'serviceAccount'
    | 'pod'
    | 'podUid'
    | 'audience'
    | 'role'
    | 'reason'
    | 'tokenId'
    | 'id'
  >
> & {
  /** Milliseconds since the epoch; decisions at or after. */
  readonly since?: number;
};

export interface DecisionStore {
  /** One batch, one transaction. May be lost at a crash: the audit line is the record. */
  append(batch: readonly StoredDecision[]): Promise<void>;
  /** Newest first. @throws StoreError not_found where `after` is no `next` of ours */
  list(filter: DecisionFilter, page: Page): Promise<PageOf<StoredDecision>>;
}

/** What changed, here or on another replica. `all`: changes may have been missed, everything is to be read again. */
export type StoreChange =
  | { readonly topic: 'roles' | 'clusters' | 'keys' | 'clients' | 'all' }
  /** `ids` is absent where there are too many to name; `added` is what this replica itself has just written. */
  | {
      readonly topic: 'denials';
      readonly ids?: readonly string[];
      readonly added?: readonly Denial[];
    }
  /** `uids` and `cluster` are absent where there are too many to name. */
  | { readonly topic: 'deaths'; readonly cluster?: string; readonly uids?: readonly string[] }
  /** Revoked or extended; an insert is no change. `hash` is absent after a revocation in bulk. */
  | { readonly topic: 'tokens'; readonly hash?: string };

/** One call, after it ended. */
export interface StoreOperation {
  /** `tokens.insert`, `roles.put` …: a handful. */
  readonly operation: string;
  readonly outcome: 'ok' | 'failure' | StoreError['kind'];
  readonly seconds: number;
}

export interface Store {
  readonly kind: Exclude<StoreKind, 'none'>;
  readonly tokens: TokenStore;
  readonly denials: DenialStore;
  readonly deaths: DeathStore;
  readonly roles: RoleStore;
  readonly clusters: ClusterStore;
  readonly keys: KeyStore;
  readonly clients: ClientStore;
  readonly decisions: DecisionStore;
  /**
   * Brings the schema up (two replicas at once are fine) and begins to listen for changes. May be called again after it
   * failed.
   * @throws StoreError unavailable: try again; conflict: this database is not for us (newer, foreign, held by another)
   */
  start(): Promise<void>;
  /**
   * Told of every change at least once. The call that makes a change resolves, on this replica, only after every
   * listener was told and what it returned has resolved. A listener handles its own failures.
   */
  onChange(listener: (change: StoreChange) => void | Promise<void>): void;
  onOperation(listener: (operation: StoreOperation) => void): void;
  /** Milliseconds since the epoch since when it does not answer; undefined while it does. */
  findAwaySince(): number | undefined;
  close(): Promise<void>;
}
