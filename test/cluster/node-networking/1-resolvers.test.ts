// Step 1: pods on the host's network and with every kind of resolver. Where the broker's name cannot be resolved the exchange
// goes to the ClusterIP of the broker's Service, which the chart found out by itself.
import { expect } from 'chai';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
} from '../harness/node/reader.ts';
import { type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';

const FALLBACK_LINE = "the broker's name could not be resolved; dialling the fallback address";

interface Row {
  readonly name: string;
  readonly pod: string;
  readonly spec: object;
  /** Whether the first way is the fallback, for the resolver says that there is no such name. */
  readonly isByAddress: boolean | 'after a time';
}

const withNameserver = (address: string) => ({
  dnsPolicy: 'None',
  dnsConfig: { nameservers: [address] },
});

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
    spec: withNameserver('127.0.0.1'),
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

describe('node networking, step 1: resolvers', function () {
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

  for (const { name, pod, isByAddress } of ROWS) {
    it(`gives a token to a pod with ${name}`, async () => {
      const where = { namespace, pod, container: 'app' };
      const { claims } = await getClaims({ cluster, installation }, where);
      expect(claims['kubernetes.io']).to.have.nested.property('pod.name', pod);
      const log = await cluster.logs({ namespace, pod, container: 'coatcheck-exchange' });
      if (isByAddress !== 'after a time')
        expect(log.includes(FALLBACK_LINE), log).to.equal(isByAddress);
    });
  }
});
