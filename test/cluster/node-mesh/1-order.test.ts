// Step 1: a second webhook adds containers to the same pods, called before ours or after. Every pod ends up with one exchange,
// with the token where it belongs and nowhere else, and with nothing left to change.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
  toShell,
} from '../harness/node/reader.ts';
import { type NodeCluster, openNodeCluster, type Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import {
  expectUnique,
  getAll,
  getContainers,
  getInitContainers,
  hasTokens,
  withoutApiAccess,
} from './containers.ts';
import { type Mesh, startMesh } from './mesh.ts';
import { ORDERS, type Order } from './orders.ts';

const EXCHANGE = 'coatcheck-exchange';
const STATUS = 'auth.example.io/status';
const ISTIO_PORTS = 'traffic.sidecar.istio.io/excludeOutboundPorts';
const LINKERD_PORTS = 'config.linkerd.io/skip-outbound-ports';

describe('node mesh, step 1: another webhook before ours and after', function () {
  this.timeout(240_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let mesh: Mesh;
  const namespaces = new Map<Order['mesh'], string>();

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'mesh',
      roles: { reader: toReaderRole('mesh') },
      values: { exchange: { podAnnotations: { [ISTIO_PORTS]: '443', [LINKERD_PORTS]: '443' } } },
    });
    const { release } = installation;
    const folder = path.join(cluster.facts.workFolder, `mesh-${release}`);
    mkdirSync(folder);
    mesh = await startMesh(cluster, folder);
    // Ours is called <release>-webhook, and the API server goes by the names.
    for (const [order, name] of [
      ['before', `a-${release}`],
      ['after', `z-${release}`],
    ] as const) {
      const namespaceLabels = { 'mesh-of': name };
      await mesh.register({ name, namespaceLabels });
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted', ...namespaceLabels };
      namespaces.set(order, (await installation.createNamespace('mesh', labels)).name);
    }
    for (const order of ['before', 'after'] as const) await waitForMesh(order);
    await cluster.apply(...ORDERS.map(toPod));
  });
  after(async () => {
    for (const namespace of namespaces.values()) await keepAndRemove(cluster, namespace);
    await mesh?.stop();
    await installation?.uninstall();
  });

  const of = (order: Order['mesh']) => namespaces.get(order) ?? '';
  const toName = ({ style, initOrder }: Order) => `${style}-${initOrder}`;
  const named = (order: Order, container = 'app') => ({
    namespace: of(order.mesh),
    pod: toName(order),
    container,
  });

  function toPod(order: Order): object {
    return toReader(cluster, {
      namespace: of(order.mesh),
      name: toName(order),
      labels: { mesh: order.style },
      annotations: { ...ANNOTATED, 'auth.example.io/init-order': order.initOrder },
      spec: {
        initContainers: [toShell(cluster, { rest: { name: 'prepare', command: ['true'] } })],
        containers: [toShell(cluster)],
      },
    });
  }

  /** Server-side dry run: what the API server would make of it. */
  const dryRun = (namespace: string, pod: object) =>
    cluster.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod);

  /** The API server takes up a registration in its own time. */
  async function waitForMesh(order: Order['mesh']): Promise<void> {
    const labels = { mesh: 'classic' };
    const pod = toReader(cluster, { namespace: of(order), name: 'asked', labels });
    const isAsked = async () =>
      getContainers((await dryRun(of(order), pod)).body as unknown as Pod).length > 1;
    await waitFor(isAsked, { what: `the mesh ${order} ours to be asked` });
  }

  for (const order of ORDERS) {
    const { style, initOrder, mesh: when, initContainers, holders } = order;
    const what = `${initOrder} with a ${style} mesh ${when} ours`;

    it(`puts the exchange ${what}, and the token where it belongs`, async () => {
      const { pod, claims } = await getClaims({ cluster, installation }, named(order));
      expect(claims['kubernetes.io']).to.have.nested.property('pod.name', toName(order));
      expect(getInitContainers(pod).map(({ name }) => name)).to.deep.equal(initContainers);
      const mounting = getAll(pod).filter(hasTokens);
      const ours = mounting.filter(({ name }) => name !== EXCHANGE);
      expect(ours.map(({ name }) => name)).to.deep.equal(holders);
      const status = JSON.parse(pod.metadata.annotations?.[STATUS] ?? '{}') as {
        containers: { name: string }[];
      };
      expect(status.containers.map(({ name }) => name)).to.deep.equal(holders);
    });

    it(`shows the token to whom it is for, ${what}`, async () => {
      const { pod } = await getClaims({ cluster, installation }, named(order));
      const running = getAll(pod).filter(({ name }) => /^(istio-proxy|other-agent)$/.test(name));
      for (const { name } of running) {
        const file = '/var/run/secrets/auth.example.io/payments/token';
        const { code } = await cluster.exec(named(order, name), 'test', '-r', file);
        expect(code, name).to.equal(holders.includes(name) ? 0 : 1);
      }
    });

    it(`leaves nothing double and nothing to change, ${what}`, async () => {
      const pod = await cluster.getPod(named(order));
      const { nodeName: _, ...spec } = pod.spec;
      for (const { name, volumeMounts = [], env = [] } of getAll(pod)) {
        expectUnique(
          volumeMounts.map(({ mountPath }) => mountPath),
          name,
        );
        expectUnique(
          env.map((variable) => variable.name),
          name,
        );
      }
      const { annotations } = pod.metadata;
      const metadata = { generateName: 'again-', annotations, labels: { mesh: style } };
      const again = await dryRun(of(when), { metadata, spec });
      expect(again.status, String(again.body.message)).to.equal(201);
      expect(again.warnings).to.deep.equal([]);
      expect(withoutApiAccess(again.body.spec)).to.deep.equal(withoutApiAccess(spec));
      expect((again.body.metadata as { annotations: object }).annotations).to.deep.equal(
        annotations,
      );
    });
  }

  for (const order of ORDERS.filter(({ mesh: when }) => when === 'before')) {
    it(`writes the same exchange in both orders, ${toName(order)}`, async () => {
      const [one, other] = await Promise.all(
        ([order, { ...order, mesh: 'after' }] as const).map(async (each) =>
          getInitContainers(await cluster.getPod(named(each))).find(
            ({ name }) => name === EXCHANGE,
          ),
        ),
      );
      expect(withoutApiAccess(one)).to.deep.equal(withoutApiAccess(other));
      // The proxy's uid is not the app's: none is stated, or all tokens of the pod would change owner.
      expect(one).to.have.property('securityContext').that.does.not.have.property('runAsUser');
    });
  }

  it('is asked again after a mesh that comes later, and shows it a finished pod', async () => {
    const [shown, ...more] = mesh.getShown('classic-first').filter(isOf(of('after')));
    expect(more).to.deep.equal([]);
    expect(getAll(shown as unknown as Pod).map(({ name }) => name)).to.include(EXCHANGE);
    // The first pass stated the app's uid, the second takes that back.
    const pod = { labels: { mesh: 'classic' }, annotations: ANNOTATED };
    const { warnings } = await dryRun(of('after'), toReader(cluster, { ...PLACE(), ...pod }));
    expect(warnings).to.have.lengthOf(1);
    expect(warnings[0]).to.match(/init container coatcheck-exchange .* was replaced$/);
  });

  it("adds the operator's annotations, which a mesh that comes later is shown", async () => {
    for (const when of ['before', 'after'] as const) {
      const [shown] = mesh.getShown('classic-first').filter(isOf(of(when)));
      const annotations = (shown?.metadata as { annotations?: object } | undefined)?.annotations;
      expect(Object.hasOwn(annotations ?? {}, ISTIO_PORTS), when).to.equal(when === 'after');
      const pod = await cluster.getPod({ namespace: of(when), pod: 'classic-first' });
      expect(pod.metadata.annotations).to.include({ [ISTIO_PORTS]: '443', [LINKERD_PORTS]: '443' });
    }
  });

  it("leaves a pod's own value of such an annotation alone, and unannotated pods altogether", async () => {
    const annotations = { ...ANNOTATED, [ISTIO_PORTS]: '8443' };
    const own = await dryRun(of('after'), toReader(cluster, { ...PLACE(), annotations }));
    expect(own.body.metadata).to.have.property('annotations');
    expect((own.body.metadata as { annotations: object }).annotations).to.include({
      [ISTIO_PORTS]: '8443',
      [LINKERD_PORTS]: '443',
    });
    const plain = await dryRun(of('after'), toReader(cluster, PLACE()));
    expect(plain.status).to.equal(201);
    expect(plain.body.metadata).to.not.have.property('annotations');
  });

  it("gives a mesh's container the token where the pod names it and the mesh came first", async () => {
    const pod = {
      labels: { mesh: 'classic' },
      annotations: { ...ANNOTATED, 'auth.example.io/containers': 'app,istio-proxy' },
    };
    const named = await dryRun(of('before'), toReader(cluster, { ...PLACE('before'), ...pod }));
    expect(named.status, String(named.body.message)).to.equal(201);
    const holders = getAll(named.body as unknown as Pod).filter(hasTokens);
    expect(holders.map(({ name }) => name)).to.deep.equal([EXCHANGE, 'app', 'istio-proxy']);
    // Called before the mesh, our webhook knows of no such container.
    const unknown = await dryRun(of('after'), toReader(cluster, { ...PLACE(), ...pod }));
    keep('named-too-early.json', JSON.stringify(unknown.body));
    expect(unknown.status).to.equal(422);
    expect(String(unknown.body.message)).to.include('[container_unknown]');
  });

  const PLACE = (when: Order['mesh'] = 'after') => ({ namespace: of(when), name: 'dry' });
});

function isOf(namespace: string): (pod: { metadata?: unknown }) => boolean {
  return ({ metadata }) => (metadata as { namespace?: string }).namespace === namespace;
}
