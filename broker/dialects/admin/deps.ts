// What the routes of the admin API work with; broker.ts puts it together.
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../common/clock.ts';
import type { AuditSink } from '../../audit.ts';
import type { Authorize } from '../../authorize.ts';
import type { Capabilities } from '../../capabilities.ts';
import type { ClusterRegistry } from '../../cluster-registry.ts';
import type { DeathReports } from '../../death-reports.ts';
import type { RequestContext, Settled } from '../../desk.ts';
import type { BrokerError } from '../../errors.ts';
import type { Cluster } from '../../identity/clusters.ts';
import type { VerifiedSubject } from '../../identity/identity.ts';
import type { Liveness } from '../../identity/liveness.ts';
import type { Metrics } from '../../metrics.ts';
import type { Receivers } from '../../receivers.ts';
import type { RoleRegistry } from '../../roles/registry.ts';
import type { Role } from '../../roles/role.ts';
import type { ParsedRole } from '../../roles/schema.ts';
import type { StaticTokens } from '../../static-tokens.ts';
import type { Mirror } from '../../store/mirror.ts';
import type { Store, StoredToken } from '../../store/store.ts';
import type { KeyAdmin } from '../../tokens/key-admin.ts';
import type { RandomBytes } from '../../tokens/opaque.ts';
import type { Revoker } from '../../tokens/revoke.ts';
import type { AdminCaller } from './caller.ts';

export interface RolesAccess
  extends Pick<RoleRegistry, 'reports' | 'findByName' | 'findAmbiguities'> {
  /** By the rules and limits that bind every source. */
  parse(document: unknown, source: string): ParsedRole;
  /** Those that count. */
  all(): readonly Role[];
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
  readonly revoker: Revoker;
  readonly roles: RolesAccess;
  /** Absent: nothing can be seen or done. */
  readonly keys?: KeyAdmin;
  /** The table as it is now; another list after a change. */
  readonly clusters: readonly Cluster[];
  readonly clusterRegistry: ClusterRegistry;
  readonly findClusterState: (name: string) => ClusterState;
  readonly deaths: Pick<DeathReports, 'reportDead' | 'reportLive'>;
  readonly findLiveReport: Liveness['findReport'];
  /** Clusters whose complete set is just being read or taken. */
  readonly longReports: Set<string>;
  readonly ownCluster: string;
  /** Undefined: nobody may ask about tokens. */
  readonly findReceivers: () => Pick<Receivers, 'isAbout'> | undefined;
  /** Decides about a token without issuing. */
  readonly authorize: Authorize;
  /** Decides about a subject that nobody proved, as {@link AdminDeps.authorize} would. */
  readonly authorizeSubject: (subject: VerifiedSubject) => Authorize;
  /** More life for a stored token, decided anew (desk.ts). */
  readonly renew: (token: StoredToken, context: RequestContext) => Promise<Settled>;
  readonly audit: Pick<AuditSink, 'recordAdmin' | 'isKeepingUp'>;
  readonly metrics: Pick<Metrics, 'countAuthenticationFailure' | 'countKeyPush'>;
  readonly logRefusal: (error: BrokerError, correlationId: string) => void;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly reservedAudiences: readonly string[];
  readonly maxStaticTokenTtlSeconds: number;
  readonly maxTokenTtlSeconds: number;
}
