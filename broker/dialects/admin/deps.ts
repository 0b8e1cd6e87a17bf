// What the routes of the admin API work with; broker.ts puts it together.
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../common/clock.ts';
import type { AuditSink } from '../../audit.ts';
import type { Authorize } from '../../authorize.ts';
import type { Capabilities } from '../../capabilities.ts';
import type { BrokerError } from '../../errors.ts';
import type { Cluster } from '../../identity/clusters.ts';
import type { VerifiedSubject } from '../../identity/identity.ts';
import type { Metrics } from '../../metrics.ts';
import type { Role } from '../../roles/role.ts';
import type { ParsedRole } from '../../roles/schema.ts';
import type { StaticTokens } from '../../static-tokens.ts';
import type { Mirror } from '../../store/mirror.ts';
import type { Store, StoredToken, TokenFilter } from '../../store/store.ts';
import type { KeyAdmin } from '../../tokens/key-admin.ts';
import type { RandomBytes } from '../../tokens/opaque.ts';
import type { AdminCaller } from './caller.ts';

/** One role of whatever source, with the state it is in (roles/registry.ts). */
export interface RoleReport {
  readonly name: string;
  readonly source: 'file' | 'crd' | 'api';
  readonly state: 'Ready' | 'Shadowed' | 'Invalid';
  readonly message?: string;
  readonly problems?: readonly string[];
  readonly overlaps: readonly string[];
}

export interface RolesAccess {
  reports(): readonly RoleReport[];
  findByName(name: string): Role | undefined;
  /** By the rules and limits that bind every source. */
  parse(document: unknown, source: string): ParsedRole;
  /** Subjects that somebody serves today and that nobody would serve any more, a sentence each. */
  findAmbiguities(candidate: Role): readonly string[];
}

/** What a revocation did. */
export interface Revoked {
  /** Stored tokens that ended. */
  readonly revoked: number;
  /** Seconds since the epoch: JWTs issued before it that fit are refused. */
  readonly deniedBefore?: number;
}

export interface Revocation {
  /** Every live token that fits, stored or not; effective here when it resolves, elsewhere at once. */
  revokeWhere(filter: TokenFilter, by: string): Promise<Revoked>;
  /** One JWT by its `jti`. */
  revokeJwt(tokenId: string, by: string): Promise<void>;
}

export interface ClusterState {
  readonly keys?: readonly { readonly kid?: string; readonly algorithms: readonly string[] }[];
  /** Milliseconds since the epoch. */
  readonly keysLoadedAt?: number;
  readonly lastReviewAt?: number;
  readonly problems: readonly string[];
}

export interface AdminDeps {
  readonly authenticate: (request: IncomingMessage) => Promise<AdminCaller>;
  readonly capabilities: Capabilities;
  /** Absent with `store: none`. */
  readonly store?: Store;
  readonly mirror?: Pick<Mirror, 'findDenial'>;
  readonly staticTokens?: StaticTokens;
  readonly revocation?: Revocation;
  readonly roles: RolesAccess;
  /** Absent: nothing can be seen or done. */
  readonly keys?: KeyAdmin;
  readonly clusters: readonly Cluster[];
  readonly findClusterState: (name: string) => ClusterState;
  readonly ownCluster: string;
  /** Decides about a token without issuing. */
  readonly authorize: Authorize;
  /** Decides about a subject that nobody proved, as {@link AdminDeps.authorize} would. */
  readonly authorizeSubject: (subject: VerifiedSubject) => Authorize;
  /** More life for a stored token, as far as its role and its ceilings still give it. */
  readonly renew?: (token: StoredToken, ttlSeconds: number | undefined) => Promise<void>;
  readonly audit: Pick<AuditSink, 'recordAdmin' | 'isKeepingUp'>;
  readonly metrics: Pick<Metrics, 'countAuthenticationFailure'>;
  readonly logRefusal: (error: BrokerError, correlationId: string) => void;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly reservedAudiences: readonly string[];
  readonly maxStaticTokenTtlSeconds: number;
  readonly maxTokenTtlSeconds: number;
}
