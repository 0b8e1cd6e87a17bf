// What the admin API (`/api/v1`) and its clients say to one another, in JSON: broker/dialects/admin answers so, the CLI and
// the console read it. Times are RFC 3339 texts in UTC. Members may be added, none changes its meaning.
// Errors are ErrorResponse (oauth.ts): `error`, `error_description`, `reason`, `correlation_id`.

export const PATH_ADMIN = '/api/v1';
export const PATH_OPENAPI = '/api/openapi.json';

/** Every list. `next` is absent on the last page; it is the `after` of the request for the next one. */
export interface ListOf<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

/** `GET /whoami`. */
export interface WhoamiView {
  readonly subject: string;
  readonly via: 'token' | 'workload' | 'client';
  readonly policies: readonly string[];
  /** What the caller may do at this API: `tokens:read`, `roles:write` …; for the whole of it, not one namespace. */
  readonly capabilities?: readonly string[];
  /** Of the token that was presented, where it is one of ours. */
  readonly token?: Pick<TokenView, 'accessor' | 'kind' | 'name' | 'expiresAt'>;
}

/** One role with the state it is in. */
export interface RoleView {
  readonly name: string;
  readonly source: 'file' | 'crd' | 'api';
  readonly state: 'Ready' | 'Shadowed' | 'Invalid';
  readonly message?: string;
  /** Names of roles that fit some of the same subjects. */
  readonly overlaps: readonly string[];
  readonly audience?: string;
  /** Of roles the API keeps: counts up with each write. */
  readonly version?: number;
  readonly updatedAt?: string;
  readonly updatedBy?: string;
  /** The TokenRole document; absent in lists. */
  readonly document?: unknown;
}

/** `PUT /roles/{name}`, with `?dryRun=true` and `?force=true`; the body is the TokenRole document. */
export interface RoleApplied {
  readonly result: 'created' | 'changed' | 'unchanged';
  readonly dryRun: boolean;
  readonly role: RoleView;
  /** What is worth knowing though it was accepted. */
  readonly warnings: readonly string[];
}

/** `DELETE /roles/{name}`, with `?revoke=true` for its live tokens too. */
export interface RoleDeleted {
  readonly name: string;
  /** How many stored tokens were revoked with it; JWTs are denied and not counted. */
  readonly revoked?: number;
}

/** A token as people see it: never its text. */
export interface TokenView {
  /** The accessor of a stored token, the `jti` of a JWT. */
  readonly accessor: string;
  readonly kind: 'client' | 'static' | 'jwt';
  readonly name?: string;
  readonly description?: string;
  readonly subject: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly audience?: string;
  readonly role?: string;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  readonly issuedAt: string;
  readonly expiresAt: string;
  /** No renewal goes beyond. */
  readonly maxExpiresAt?: string;
  readonly createdBy?: string;
}

/** `POST /tokens`: a static token. */
export interface TokenCreate {
  readonly name: string;
  readonly description?: string;
  readonly audience?: string;
  readonly policies?: readonly string[];
  readonly scopes?: readonly string[];
  /** `12h`, `30m`, `90d`; the broker's ceiling for static tokens otherwise. */
  readonly ttl?: string;
}

/** The answer to it: the only time the token is shown. */
export interface TokenCreated extends TokenView {
  readonly token: string;
}

/** `GET /tokens` (as query parameters, with `limit` and `after`) and `POST /tokens/revoke` (as body): all stated must fit. */
export interface TokenQuery {
  readonly kind?: 'client' | 'static' | 'jwt';
  readonly subject?: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly role?: string;
  readonly audience?: string;
}

/** `POST /tokens/revoke`, and `DELETE /tokens/{accessor}`. */
export interface TokensRevoked {
  /** Stored tokens that ended. */
  readonly revoked: number;
  /** JWTs issued before this moment that fit are refused from now on; absent where no JWT can be meant. */
  readonly deniedBefore?: string;
}

/** One signing key of the broker. */
export interface KeyView {
  readonly kid: string;
  /** Absent where it cannot be read. */
  readonly algorithm?: string;
  readonly state: 'upcoming' | 'signing' | 'published' | 'unreadable';
  readonly createdAt?: string;
  readonly signsFrom?: string;
  /** From then on it is not published any more. */
  readonly retiresAt?: string;
  /** Name of the key that seals it. */
  readonly sealedBy?: string;
}

/** `GET /keys`. `folder`: the keys are files, and rotated there. `POST /keys/rotate` answers one KeyView. */
export interface KeyList extends ListOf<KeyView> {
  readonly source: 'store' | 'folder';
}

/** `POST /keys/rewrap`. */
export interface KeysRewrapped {
  readonly rewrapped: number;
  /** Keys that no sealing key here opens; they stay as they are. */
  readonly unreadable: number;
  /** Name of the key that seals them now. */
  readonly sealedBy: string;
}

/** A registered OAuth client. */
export interface ClientView {
  readonly id: string;
  readonly name?: string;
  readonly description?: string;
  /** How it may authenticate. */
  readonly methods: readonly ('client_secret' | 'private_key_jwt')[];
  /** Two while a secret is rotated. */
  readonly secrets: number;
  readonly jwks?: unknown;
  readonly createdAt: string;
  readonly createdBy: string;
}

/** `POST /clients`. With `jwks` no secret is made, unless `secret` asks for one. */
export interface ClientCreate {
  readonly id: string;
  readonly name?: string;
  readonly description?: string;
  readonly jwks?: unknown;
  readonly secret?: boolean;
}

/** The answer to it and to `POST /clients/{id}/secret`: the only time the secret is shown. */
export interface ClientCreated extends ClientView {
  readonly secret?: string;
}

/** `POST /clients/{id}/secret`. */
export interface SecretRotate {
  /** True: the secrets before end at once; else the last one goes on until the next rotation. */
  readonly revokeOld?: boolean;
}

/** `GET /clusters`. */
export interface ClusterView {
  readonly name: string;
  readonly kind: string;
  readonly issuer?: string;
  readonly own: boolean;
  readonly source: 'file' | 'api';
  readonly state: 'Ready' | 'Shadowed' | 'Invalid';
  /** Why it does not count. */
  readonly message?: string;
  readonly validation?: string;
  readonly keysFrom?: string;
  /** When its keys were last loaded, or pushed. */
  readonly keysLoadedAt?: string;
  readonly keysAgeSeconds?: number;
  readonly lastPushAt?: string;
  readonly problems: readonly string[];
  /** Of clusters the API keeps: counts up with each write. */
  readonly version?: number;
  /** The entry of a cluster of the API; absent in lists. */
  readonly document?: unknown;
  /** The last complete set of what lives in it; absent where it never reported. */
  readonly live?: {
    readonly takenAt: string;
    readonly receivedAt: string;
    readonly pods: number;
    readonly serviceAccounts: number;
  };
}

/** `PUT /clusters/{name}`, with `?dryRun=true`; the body is an entry of the clusters table without `name`. */
export interface ClusterApplied {
  readonly result: 'created' | 'changed' | 'unchanged';
  readonly dryRun: boolean;
  readonly cluster: ClusterView;
}

/** `DELETE /clusters/{name}`, with `?revoke=true` for its live client tokens too. */
export interface ClusterDeleted {
  readonly name: string;
  /** How many stored tokens were revoked with it; JWTs are denied and not counted. */
  readonly revoked?: number;
}

/** `PUT /clusters/{name}/keys`; the body is a JWKS. */
export interface KeysPushed {
  readonly cluster: string;
  readonly keys: number;
  readonly changed: boolean;
}

/** `GET /decisions`, as query parameters, with `limit` and `after`. */
export interface DecisionQuery {
  readonly outcome?: 'allow' | 'deny' | 'failure';
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly audience?: string;
  readonly role?: string;
  readonly reason?: string;
  /** RFC 3339. */
  readonly since?: string;
}

/**
 * `GET /decisions/explain?namespace=…&pod=…[&cluster=…]`: what was decided about a pod lately, newest first, and what would
 * be decided about the same requests now. Each is a DecisionRecord (broker/decision-record.ts).
 */
export interface PodExplained {
  readonly past: readonly unknown[];
  readonly now: readonly unknown[];
}
