// Step 1: every pod of the table twice, with the annotation and without. With it the app reads its token; whatever else is
// projected into the pod has the mode and the owner that it has without us.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { RESTRICTED } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
  toShell,
} from '../harness/node/reader.ts';
import { isReady, type NodeCluster, openNodeCluster, type Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { type Place, ROWS, type Row } from './rows.ts';

const ENFORCED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const LABELS: Readonly<Record<Place, Readonly<Record<string, string>>>> = {
  restricted: ENFORCED,
  open: {},
  quota: ENFORCED,
  limits: ENFORCED,
};
const MINE = { name: 'mine', mountPath: '/mine', readOnly: true } as const;
const ACCESS = '/var/run/secrets/kubernetes.io/serviceaccount';
const PROJECTED = ['token', 'ca.crt', 'namespace'].map((file) => `${ACCESS}/${file}`);

describe('node security, step 1: users, groups and budgets of all kinds', function () {
  this.timeout(240_000);
  let cluster: NodeCluster;
  let installation: Installation;
  const namespaces = new Map<Place, string>();

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'security',
      roles: { reader: toReaderRole('security') },
    });
    for (const place of Object.keys(LABELS) as Place[]) {
      const { name } = await installation.createNamespace('security', LABELS[place]);
      namespaces.set(place, name);
    }
    await cluster.apply(...toBudgets(of('quota'), of('limits')));
    for (const place of ['quota', 'limits'] as const) await waitForBudget(place);
    await cluster.apply(...ROWS.flatMap((row) => [toPod(row, 'with'), toPod(row, 'without')]));
  });
  after(async () => {
    for (const namespace of namespaces.values()) await keepAndRemove(cluster, namespace);
    await installation?.uninstall();
  });

  const of = (place: Place) => namespaces.get(place) ?? '';
  const named = ({ place, pod }: Row, which: 'with' | 'without') => ({
    namespace: of(place),
    pod: `${pod}-${which}`,
    container: 'app',
  });

  /** A quota has a status, and a LimitRange is known to the API server, in their own time. */
  async function waitForBudget(place: 'quota' | 'limits'): Promise<void> {
    const row = ROWS.find((one) => one.place === place) as Row;
    const path = `/api/v1/namespaces/${of(place)}/pods?dryRun=All`;
    const isInForce = async () => {
      const { status, body } = await cluster.request('POST', path, toPod(row, 'without'));
      return status === 201 && JSON.stringify(body.spec).includes('"limits":{');
    };
    await waitFor(isInForce, { what: `the budget of ${place}`, withinMs: 60_000 });
  }

  /** With a projected token of the user's own in every app container. */
  function toPod(row: Row, which: 'with' | 'without'): object {
    const isOurs = which === 'with';
    const { namespace, pod: name } = named(row, which);
    const spec = row.toSpec(cluster, isOurs) as { containers: object[] };
    return toReader(cluster, {
      namespace,
      name,
      ...(isOurs && { annotations: ANNOTATED }),
      spec: {
        ...spec,
        containers: spec.containers.map((container) => ({ ...container, volumeMounts: [MINE] })),
        volumes: [
          {
            name: 'mine',
            projected: {
              sources: [
                {
                  serviceAccountToken: { audience: 'mine', expirationSeconds: 600, path: 'token' },
                },
              ],
            },
          },
        ],
      },
    });
  }

  /** `mode uid:gid path` of everything projected into the app beside our own. */
  async function readModes(row: Row, which: 'with' | 'without'): Promise<readonly string[]> {
    const name = named(row, which);
    await cluster.waitForPod(name, isReady, 180_000);
    const files = row.pod === 'no-automount' ? [] : [ACCESS, ...PROJECTED];
    const command = ['stat', '-L', '-c', '%a %u:%g %n', '/mine', '/mine/token', ...files];
    const { code, stdout, stderr } = await cluster.exec(name, ...command);
    expect(code, stderr).to.equal(0);
    return stdout.trim().split('\n');
  }

  for (const row of ROWS) {
    const { name, pod, place, token, qosClass } = row;

    it(`gives a token to a pod with ${name}`, async () => {
      const ours = await getClaims({ cluster, installation }, named(row, 'with'), 180_000);
      const where = { namespace: of(place), pod: { name: `${pod}-with` } };
      expect(ours.claims['kubernetes.io']).to.deep.include({ namespace: of(place) });
      expect(ours.claims['kubernetes.io']).to.have.nested.property('pod.name', where.pod.name);
      for (const container of getContainerNames(ours.pod).filter((one) => one !== 'app')) {
        const other = { ...named(row, 'with'), container };
        await getClaims({ cluster, installation }, other);
      }
    });

    it(`leaves the modes of other tokens alone in a pod with ${name}`, async () => {
      const without = await readModes(row, 'without');
      expect(await readModes(row, 'with')).to.deep.equal(without);
      // What the kubelet itself promises, or the comparison would compare nothing.
      expect(without).to.include(`${token} /mine/token`);
      if (pod !== 'no-automount') expect(without).to.include(`${token} ${ACCESS}/token`);
    });

    if (qosClass !== undefined) {
      it(`leaves a pod with ${name} the class ${qosClass}`, async () => {
        const [ours, plain] = await Promise.all(
          (['with', 'without'] as const).map((which) => cluster.getPod(named(row, which))),
        );
        expect(getQosClass(plain)).to.equal(qosClass);
        expect(getQosClass(ours)).to.equal(qosClass);
      });
    }
  }

  it('puts no ServiceAccount token into an app that has none', async () => {
    const row = ROWS.find(({ pod }) => pod === 'no-automount') as Row;
    await cluster.waitForPod(named(row, 'with'), isReady, 180_000);
    const { code } = await cluster.exec(named(row, 'with'), 'test', '-e', ACCESS);
    expect(code).to.equal(1);
  });

  const REFUSED: readonly { name: string; place: Place; container: object; message: RegExp }[] = [
    {
      name: 'is not restricted by itself',
      place: 'restricted',
      container: { securityContext: { ...RESTRICTED, allowPrivilegeEscalation: true } },
      message:
        /violates PodSecurity "restricted:latest": allowPrivilegeEscalation.*container "app"/,
    },
    {
      name: 'says nothing where the quota asks for it',
      place: 'quota',
      container: {},
      message: /failed quota: everything: must specify limits\.cpu for: app;/,
    },
    {
      name: 'asks for more than the quota has',
      place: 'quota',
      container: { resources: { limits: { cpu: '20m', memory: '100Gi' } } },
      message: /exceeded quota: everything, requested: .*memory=/,
    },
    {
      name: 'asks for more than the LimitRange allows',
      place: 'limits',
      container: { resources: { limits: { cpu: '3', memory: '16Mi' } } },
      message: /maximum cpu usage per Container is 1, but limit is 3/,
    },
  ];
  for (const { name, place, container, message } of REFUSED) {
    for (const annotations of [ANNOTATED, undefined]) {
      it(`does not help a pod that ${name}${annotations ? '' : ' (nor would it start without us)'}`, async () => {
        const pod = toReader(cluster, {
          namespace: of(place),
          name: 'refused',
          ...(annotations && { annotations }),
          spec: { containers: [toShell(cluster, { rest: container })] },
        });
        const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], pod);
        keep(`refused-${place}.txt`, stderr);
        expect(code).to.equal(1);
        expect(stderr).to.match(message);
        expect(stderr).to.not.include('coatcheck');
      });
    }
  }
});

function getContainerNames({ spec }: Pod): readonly string[] {
  return (spec.containers as readonly { name: string }[]).map(({ name }) => name);
}

function getQosClass(pod: Pod | undefined): string | undefined {
  return (pod?.status as { qosClass?: string } | undefined)?.qosClass;
}

function toBudgets(quota: string, limits: string): object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { namespace: quota, name: 'everything' },
      spec: {
        hard: {
          'requests.cpu': '2',
          'requests.memory': '1Gi',
          'limits.cpu': '4',
          'limits.memory': '2Gi',
          pods: '10',
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { namespace: limits, name: 'defaults' },
      spec: {
        limits: [
          {
            type: 'Container',
            default: { cpu: '100m', memory: '64Mi' },
            defaultRequest: { cpu: '10m', memory: '16Mi' },
            max: { cpu: '1', memory: '1Gi' },
          },
        ],
      },
    },
  ];
}
