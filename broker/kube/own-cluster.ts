// The broker's own API server, as a source of roles and of labels of namespaces, and as the judge of rights. It is asked
// with the credential that is on the disk at that moment, and never about tokens: reviews have a client of their own.
import type { Clock, Random } from '../../common/clock.ts';
import { type AccessReviews, createAccessReviews } from '../../common/kube/access.ts';
import { createKubeClient } from '../../common/kube/client.ts';
import type { Logger } from '../../common/log.ts';
import type { NamespaceLabels } from '../roles/namespaces.ts';
import type { RoleRegistry, RoleReport } from '../roles/registry.ts';
import type { Role } from '../roles/role.ts';
import type { RoleLimits } from '../roles/schema.ts';
import { type CrdSource, createCrdSource } from '../roles/sources/crd.ts';
import { createNamespaceLabels } from './namespace-labels.ts';
import { createRightsCheck, type NeededRight, RIGHTS } from './rights.ts';
import { createRoleStatusWriter, type RoleVerdict } from './role-status.ts';

export interface ApiServerAccess {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
}

export interface OwnClusterOptions {
  readonly apiServer: ApiServerAccess;
  /** Whether TokenRole objects are roles. */
  readonly tokenRoles: boolean;
  /** `auto`: namespaces are read once a role has a namespaceSelector. */
  readonly namespaceLabels: 'auto' | 'off';
  /** Whether tokens of the own cluster are reviewed by this API server. */
  readonly needsTokenReviews: boolean;
  readonly limits?: RoleLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** As much of the registry (broker/roles/registry.ts) as is needed here. */
export type JudgedRoles = Pick<RoleRegistry, 'current' | 'reports'>;

export interface OwnCluster {
  readonly access: AccessReviews;
  /** For the registry, which starts and stops it; undefined where TokenRoles are not read. */
  readonly source: CrdSource | undefined;
  readonly namespaces: NamespaceLabels;
  /** Once the roles have been read: checks rights, reads namespaces where a role wants them. Never rejects. */
  start(roles: JudgedRoles): Promise<void>;
  /** To be called whenever roles, or what is said about them, have changed. */
  refresh(): void;
  /** Rights that the API server said no to. */
  missingRights(): readonly string[];
  /** Why selectors of roles in use cannot work, a sentence each. */
  problems(): readonly string[];
  stop(): Promise<void>;
}

/** Watches take a connection each; status writes and reviews of access share the rest. */
const MAX_CONNECTIONS = 16;

/** Makes it; nothing is asked before `start` (of it, or of its source). */
export function createOwnCluster(options: OwnClusterOptions): OwnCluster {
  const { clock, random, log } = options;
  const client = createKubeClient({
    ...options.apiServer,
    maxConnections: MAX_CONNECTIONS,
    onCaChanged: () => {
      source?.relist();
      namespaces.relist();
    },
  });
  const around = { client, clock, random, log };
  const access = createAccessReviews(client);
  const namespaces = createNamespaceLabels({ ...around, onLoaded: () => refresh() });
  const source: CrdSource | undefined = options.tokenRoles
    ? createCrdSource({ ...around, ...(options.limits && { limits: options.limits }) })
    : undefined;
  let judged: JudgedRoles | undefined;
  const wantsLabels = () => judged?.current().all.some(hasSelector) ?? false;
  const readsLabels = () => options.namespaceLabels === 'auto' && wantsLabels();

  const rights = createRightsCheck({
    access,
    findNeeded: (): readonly NeededRight[] => [
      ...(options.needsTokenReviews ? RIGHTS.tokenReviews : []),
      ...RIGHTS.accessReviews,
      ...(options.tokenRoles ? RIGHTS.tokenRoles : []),
      ...(readsLabels() ? RIGHTS.namespaces : []),
    ],
    // Selectors may work again, or not any more: nobody else tells the statuses.
    onChecked: refresh,
    clock,
    log,
  });
  function findSelectorProblem(): string | undefined {
    return options.namespaceLabels === 'off'
      ? 'namespaceSelector fits nobody: this broker does not read namespaces (COATCHECK_NAMESPACE_LABELS)'
      : namespaces.problems()[0];
  }
  const status =
    source &&
    createRoleStatusWriter({
      ...around,
      findObjects: () => source.objects,
      createVerdicts: () => {
        const verdicts = toVerdicts(judged?.reports() ?? []);
        const problem = findSelectorProblem();
        return ({ name, parsed }) => {
          const verdict = verdicts.get(`crd:${name}`);
          const isBlind = problem !== undefined && parsed.ok && hasSelector(parsed.role);
          return verdict?.ready && isBlind
            ? { ...verdict, ready: false, reason: 'NamespacesUnreadable', message: problem }
            : verdict;
        };
      },
    });

  function refresh(): void {
    if (!judged) return;
    if (readsLabels() && !namespaces.isStarted()) void namespaces.start().then(refresh);
    status?.refresh();
  }
  source?.onObjects(refresh);

  return {
    access,
    source,
    namespaces,
    start: async (roles) => {
      judged = roles;
      // Only a line in the log comes of it: nobody waits.
      void rights.start();
      if (readsLabels()) await namespaces.start();
      refresh();
    },
    refresh,
    missingRights: rights.missing,
    problems: () => {
      const problem = wantsLabels() ? findSelectorProblem() : undefined;
      return problem === undefined ? [] : [problem];
    },
    stop: async () => {
      await Promise.all([status?.stop(), rights.stop(), namespaces.stop()]);
      client.close();
    },
  };
}

/** By where the role is written. */
function toVerdicts(reports: readonly RoleReport[]): ReadonlyMap<string, RoleVerdict> {
  return new Map(reports.map((report) => [report.writtenAt, toVerdict(report)]));
}

function toVerdict(report: RoleReport): RoleVerdict {
  const { state, isAmbiguous = false, message, problems, overlaps } = report;
  const isReady = state === 'Ready' && !isAmbiguous;
  return {
    ready: isReady,
    reason: isReady ? 'Accepted' : isAmbiguous ? 'Ambiguous' : state,
    message: [message ?? 'in use', ...(problems ?? [])].join('; '),
    overlaps,
  };
}

function hasSelector({ subjects }: Role): boolean {
  return subjects.some((subject) => 'namespaceSelector' in subject);
}
