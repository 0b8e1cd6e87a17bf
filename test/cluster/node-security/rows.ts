// Which pods there are as far as users, groups, budgets and credentials go, and what the kubelet does with the projected
// tokens of each (pkg/volume/projected: 0600 and the app's where all containers state one uid; 0640 with an fsGroup; else
// 0644 and root's).
import { RESTRICTED } from '../harness/node/app.ts';
import { toShell } from '../harness/node/reader.ts';
import type { NodeCluster } from '../harness/node/suite.ts';

/** Kinds of namespaces, see the suite. */
export type Place = 'restricted' | 'open' | 'quota' | 'limits';

export interface Row {
  readonly name: string;
  /** Name of the pod. */
  readonly pod: string;
  readonly place: Place;
  /** Beside `containers: [app]`, or instead of it; `reads` is false in the pod without us. */
  readonly toSpec: (cluster: NodeCluster, reads: boolean) => object;
  /** `mode uid:gid` of a projected token of the user's own. */
  readonly token: string;
  /** Of the pod with us; the one without is what it would be by itself. */
  readonly qosClass?: 'BestEffort' | 'Burstable' | 'Guaranteed';
}

const AS_ROOT = { runAsUser: 0 } as const;
const HIGH_UID = 1_000_680_000;
const SMALL = { cpu: '20m', memory: '16Mi' } as const;

function app(containerRest: object, podRest: object = {}): Row['toSpec'] {
  return (cluster, reads) => ({
    containers: [toShell(cluster, { reads, rest: containerRest })],
    ...podRest,
  });
}

function asUser(runAsUser: number): object {
  return { securityContext: { ...RESTRICTED, runAsUser } };
}

const { runAsUser: _, ...RESTRICTED_WITHOUT_UID } = RESTRICTED;
const WITHOUT_UID = { securityContext: RESTRICTED_WITHOUT_UID } as const;

export const ROWS: readonly Row[] = [
  {
    name: 'one uid, on the container, with a root that cannot be written',
    pod: 'container-uid',
    place: 'restricted',
    toSpec: app({}),
    token: '600 1000:0',
  },
  {
    name: 'one uid, on the pod',
    pod: 'pod-uid',
    place: 'restricted',
    toSpec: app(WITHOUT_UID, { securityContext: { runAsUser: 1000 } }),
    token: '600 1000:0',
  },
  {
    name: 'an arbitrary high uid and fsGroup, as OpenShift gives them',
    pod: 'high-uid',
    place: 'restricted',
    toSpec: app(WITHOUT_UID, { securityContext: { runAsUser: HIGH_UID, fsGroup: HIGH_UID } }),
    token: `640 ${HIGH_UID}:${HIGH_UID}`,
  },
  {
    name: 'an arbitrary high uid alone',
    pod: 'high-uid-alone',
    place: 'restricted',
    toSpec: app(asUser(HIGH_UID)),
    token: `600 ${HIGH_UID}:0`,
  },
  {
    name: 'two containers with the same uid',
    pod: 'uniform',
    place: 'restricted',
    toSpec: (cluster, reads) => ({
      containers: [
        toShell(cluster, { reads }),
        toShell(cluster, { reads, rest: { name: 'other' } }),
      ],
    }),
    token: '600 1000:0',
  },
  {
    name: 'two containers with a uid each',
    pod: 'mixed',
    place: 'restricted',
    toSpec: (cluster, reads) => ({
      containers: [
        toShell(cluster, { reads }),
        toShell(cluster, { reads, rest: { name: 'other', ...asUser(2000) } }),
      ],
    }),
    token: '644 0:0',
  },
  {
    name: 'an init container of another uid',
    pod: 'mixed-init',
    place: 'restricted',
    toSpec: (cluster, reads) => ({
      initContainers: [
        toShell(cluster, { rest: { name: 'prepare', command: ['true'], ...asUser(2000) } }),
      ],
      containers: [toShell(cluster, { reads })],
    }),
    token: '644 0:0',
  },
  {
    name: 'no uid but that of the image',
    pod: 'no-uid',
    place: 'restricted',
    toSpec: app(WITHOUT_UID),
    token: '644 0:0',
  },
  {
    name: 'an fsGroup and no uid',
    pod: 'fs-group',
    place: 'restricted',
    toSpec: app(WITHOUT_UID, { securityContext: { fsGroup: 2000 } }),
    token: '640 0:2000',
  },
  {
    name: 'an fsGroup and one uid',
    pod: 'fs-group-uid',
    place: 'restricted',
    toSpec: app({}, { securityContext: { fsGroup: 2000 } }),
    token: '640 1000:2000',
  },
  {
    name: 'no token of the ServiceAccount in the pod',
    pod: 'no-automount',
    place: 'restricted',
    toSpec: app({}, { automountServiceAccountToken: false }),
    token: '600 1000:0',
  },
  {
    name: 'root, on the pod',
    pod: 'root',
    place: 'open',
    toSpec: app({ securityContext: {} }, { securityContext: AS_ROOT }),
    token: '600 0:0',
  },
  {
    name: 'root, on the container',
    pod: 'container-root',
    place: 'open',
    toSpec: app({ securityContext: AS_ROOT }),
    token: '600 0:0',
  },
  {
    name: 'root beside another uid',
    pod: 'root-and-other',
    place: 'open',
    toSpec: (cluster, reads) => ({
      securityContext: AS_ROOT,
      containers: [
        toShell(cluster, { reads, rest: { securityContext: {} } }),
        toShell(cluster, { reads, rest: { name: 'other' } }),
      ],
    }),
    token: '644 0:0',
  },
  {
    name: 'limits that are its requests (Guaranteed)',
    pod: 'guaranteed',
    place: 'restricted',
    toSpec: app({ resources: { requests: SMALL, limits: SMALL } }),
    token: '600 1000:0',
    qosClass: 'Guaranteed',
  },
  {
    name: 'limits alone, which is Guaranteed, too',
    pod: 'limits-alone',
    place: 'restricted',
    toSpec: app({ resources: { limits: SMALL } }),
    token: '600 1000:0',
    qosClass: 'Guaranteed',
  },
  {
    name: 'less requested than the limit (Burstable)',
    pod: 'burstable',
    place: 'restricted',
    toSpec: app({ resources: { requests: SMALL, limits: { cpu: '40m', memory: '32Mi' } } }),
    token: '600 1000:0',
    qosClass: 'Burstable',
  },
  {
    name: 'a ResourceQuota over everything and no LimitRange',
    pod: 'quota',
    place: 'quota',
    toSpec: app({ resources: { requests: SMALL, limits: SMALL } }),
    token: '600 1000:0',
    qosClass: 'Guaranteed',
  },
  {
    name: 'a LimitRange that fills in what the pod does not say',
    pod: 'limits',
    place: 'limits',
    toSpec: app({}),
    token: '600 1000:0',
  },
];
