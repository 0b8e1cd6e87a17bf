// Pods on the host's network and with every kind of resolver. Where the broker's name cannot be resolved the exchange goes to
// the ClusterIP of the broker's Service, which the chart found out by itself. That address decides nothing but the way: a
// server there with another name's certificate, though of the authority that the pods trust, gets no ServiceAccount token.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
} from '../harness/node/reader.ts';
import {
  getContainerStatus,
  isFinished,
  type NodeCluster,
  openNodeCluster,
  type Pod,
} from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

const EXCHANGE = 'coatcheck-exchange';
const FALLBACK_LINE = "the broker's name could not be resolved; dialling the fallback address";

interface Row {
  readonly name: string;
  readonly pod: string;
  readonly spec: object;
  /** Whether the way was the fallback at once, because the resolver knows no such name. */
  readonly isByAddress: boolean | 'after a time';
}

const withNameserver = (address: string) => ({
  dnsPolicy: 'None',
  dnsConfig: { nameservers: [address] },
});

/** Nobody listens there. */
const WITHOUT_DNS = withNameserver('127.0.0.1');

const ROWS: readonly Row[] = [
  { name: 'the DNS of the cluster', pod: 'cluster-first', spec: {}, isByAddress: false },
  {
    name: "the host's network and its resolver",
    pod: 'host-network',
    spec: { hostNetwork: true },
    isByAddress: true,
  },
  {
    name: "the host's network and the DNS of the cluster",
    pod: 'host-cluster-first',
    spec: { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
    isByAddress: false,
  },
  {
    name: "the node's resolver (dnsPolicy Default)",
    pod: 'default',
    spec: { dnsPolicy: 'Default' },
    isByAddress: true,
  },
  {
    name: 'a nameserver where nobody listens',
    pod: 'nobody',
    spec: WITHOUT_DNS,
    isByAddress: true,
  },
  {
    name: 'a nameserver that never answers',
    pod: 'silent',
    // TEST-NET-1 (RFC 5737).
    spec: withNameserver('192.0.2.1'),
    isByAddress: 'after a time',
  },
];

describe('node networking: resolvers and the fallback address', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: string;

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'networking',
      roles: { reader: toReaderRole('networking') },
    });
    namespace = (await installation.createNamespace('networking')).name;
    await cluster.apply(
      ...ROWS.map(({ pod: name, spec }) =>
        toReader(cluster, { namespace, name, annotations: ANNOTATED, spec }),
      ),
    );
  });
  after(async () => {
    if (namespace) await keepAndRemove(cluster, namespace);
    await installation?.uninstall();
  });

  const named = (pod: string) => ({ namespace, pod, container: 'app' });

  for (const { name, pod, isByAddress } of ROWS) {
    it(`gives a token to a pod with ${name}`, async () => {
      const { claims } = await getClaims({ cluster, installation }, named(pod));
      expect(claims['kubernetes.io']).to.have.nested.property('pod.name', pod);
      const log = await cluster.logs({ ...named(pod), container: EXCHANGE });
      if (isByAddress !== 'after a time')
        expect(log.includes(FALLBACK_LINE), log).to.equal(isByAddress);
    });
  }

  /** Resolves when every webhook that answers writes `expected` into pods. */
  async function setFallback(value: string, expected: string | undefined): Promise<void> {
    await installation.upgrade({ exchange: { brokerFallbackAddress: value } });
    const { release, namespace: home } = installation;
    const selector = `app.kubernetes.io/instance%3D${release},app.kubernetes.io/component%3Dwebhook`;
    const listPath = `/api/v1/namespaces/${home}/pods?labelSelector=${selector}`;
    const isSet = async () => {
      // The API server holds connections to the one before until that has ended.
      const { items } = (await cluster.request('GET', listPath)).body;
      if ((items as readonly unknown[]).length !== 1) return false;
      const pod = toReader(cluster, { namespace, name: 'x', annotations: ANNOTATED });
      const path = `/api/v1/namespaces/${namespace}/pods?dryRun=All`;
      const { status, body } = await cluster.request('POST', path, pod);
      return status === 201 && findFallback(body as unknown as Pod) === expected;
    };
    await waitFor(isSet, { what: 'the webhook to know the address', withinMs: 120_000 });
  }

  /** Runs a pod that cannot resolve names, and that nobody restarts, to its end. */
  async function runWithoutDns(name: string) {
    await cluster.apply(
      toReader(cluster, {
        namespace,
        name,
        annotations: { ...ANNOTATED, 'auth.example.io/deadline': '8' },
        spec: { ...WITHOUT_DNS, restartPolicy: 'Never' },
      }),
    );
    const pod = await cluster.waitForPod(named(name), isFinished, 120_000);
    const { stdout } = await cluster.kubectl(['describe', 'pod', name, '-n', namespace]);
    keep(`describe-${name}.txt`, stdout);
    return {
      exchange: getContainerStatus(pod, EXCHANGE).state.terminated,
      app: getContainerStatus(pod, 'app').state,
      described: stdout,
      log: await cluster.logs({ ...named(name), container: EXCHANGE }),
    };
  }

  it("gives no token through a server with another name's certificate, and says so", async () => {
    const address = await getWebhookAddress();
    await setFallback(address, address);
    const { exchange, app, described, log } = await runWithoutDns('misled');
    expect(log).to.include(`address=${address}`);
    expect(exchange?.exitCode).to.not.equal(0);
    expect(exchange?.message).to.match(/no token for audience payments.*reason tls\b/s);
    expect(exchange?.message).to.include('check the broker certificate: its name must be');
    expect(described).to.include('reason tls');
    expect(app.running).to.equal(undefined);
  });

  it('does not matter to a pod that can resolve the name', async () => {
    const annotations = ANNOTATED;
    await cluster.apply(toReader(cluster, { namespace, name: 'led-by-name', annotations }));
    const { pod } = await getClaims({ cluster, installation }, named('led-by-name'));
    expect(getContainerStatus(pod, EXCHANGE).restartCount).to.equal(0);
  });

  it('gives no token without any fallback address, and says that the name was not found', async () => {
    await setFallback('none', undefined);
    const { exchange, app } = await runWithoutDns('lost');
    expect(exchange?.exitCode).to.not.equal(0);
    expect(exchange?.message).to.match(/no token for audience payments.*reason dns\b/s);
    expect(app.running).to.equal(undefined);
  });

  /** The webhook's certificate has the broker's issuer, and another name. */
  async function getWebhookAddress(): Promise<string> {
    const { release, namespace: home } = installation;
    const path = `/api/v1/namespaces/${home}/services/${release}-webhook`;
    const { body } = await cluster.request('GET', path);
    return (body.spec as { clusterIP: string }).clusterIP;
  }
});

function findFallback({ spec }: Pod): string | undefined {
  const containers = spec.initContainers as readonly {
    name: string;
    env: readonly { name: string; value: string }[];
  }[];
  const { env = [] } = containers.find(({ name }) => name === EXCHANGE) ?? {};
  return env.find(({ name }) => name === 'COATCHECK_BROKER_FALLBACK_ADDRESS')?.value;
}
