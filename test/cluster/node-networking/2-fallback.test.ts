// Step 2: the fallback address decides nothing but the way. A server there with another name's certificate, though signed by
// the authority that the pods trust, gets no ServiceAccount token; the pod says `tls` and never starts its app.
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
} from '../harness/node/suite.ts';

const EXCHANGE = 'coatcheck-exchange';
/** Nobody listens there, and nothing can be resolved. */
const WITHOUT_DNS = { dnsPolicy: 'None', dnsConfig: { nameservers: ['127.0.0.1'] } };

describe('node networking, step 2: a wrong fallback address', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: string;

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'fallback',
      roles: { reader: toReaderRole('fallback') },
    });
    namespace = (await installation.createNamespace('fallback')).name;
  });
  after(async () => {
    if (namespace) await keepAndRemove(cluster, namespace);
    await installation?.uninstall();
  });

  const named = (pod: string) => ({ namespace, pod, container: 'app' });

  /** Runs a pod that cannot resolve names, and that nobody restarts, to its end. */
  async function runWithoutDns(name: string) {
    await cluster.apply(
      toReader(cluster, {
        namespace,
        name,
        annotations: { ...ANNOTATED, 'auth.example.io/deadline': '6' },
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
    await installation.upgrade({ exchange: { brokerFallbackAddress: address } });
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
    await installation.upgrade({ exchange: { brokerFallbackAddress: 'none' } });
    const { exchange, app } = await runWithoutDns('lost');
    expect(exchange?.exitCode).to.not.equal(0);
    expect(exchange?.message).to.match(/no token for audience payments.*reason dns\b/s);
    expect(app.running).to.equal(undefined);
  });

  it('gives the same pod its token with the address that the chart finds', async () => {
    await installation.upgrade({ exchange: { brokerFallbackAddress: 'auto' } });
    const annotations = ANNOTATED;
    const spec = WITHOUT_DNS;
    await cluster.apply(toReader(cluster, { namespace, name: 'found', annotations, spec }));
    await getClaims({ cluster, installation }, named('found'));
  });

  /** The webhook's certificate has the broker's issuer, and another name. */
  async function getWebhookAddress(): Promise<string> {
    const { release, namespace: home } = installation;
    const path = `/api/v1/namespaces/${home}/services/${release}-webhook`;
    const { body } = await cluster.request('GET', path);
    return (body.spec as { clusterIP: string }).clusterIP;
  }
});
