// Names and Service addresses: CoreDNS and kube-proxy, as processes of the node.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ControlPlane } from '../control-plane.ts';
import { type RunningProcess, startProcess } from '../process.ts';
import { isAnswering } from './health.ts';
import { NODE_ADDRESS, NODE_FOLDER, NODE_NAME, POD_NETWORK } from './machine.ts';

const DNS_HEALTH_PORT = 8181;
const PROXY_HEALTH_PORT = 10256;

export interface NetworkOptions {
  binary: string;
  controlPlane: ControlPlane;
}

/** The cluster's DNS at the node's address. Knows `*.cluster.local` and refuses the rest: there is no outside here. */
export function startDns({ binary, controlPlane }: NetworkOptions): Promise<RunningProcess> {
  // Its usual ServiceAccount and role come with its Deployment, which there is none of.
  const kubeconfig = controlPlane.writeKubeconfig('coredns', 'coredns', ['system:masters']);
  const folder = path.join(NODE_FOLDER, 'coredns');
  mkdirSync(folder);
  const file = path.join(folder, 'Corefile');
  writeFileSync(
    file,
    `.:53 {
  bind ${NODE_ADDRESS}
  errors
  ready 127.0.0.1:${DNS_HEALTH_PORT}
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${kubeconfig}
    pods insecure
    ttl 1
  }
}
`,
  );
  return startProcess({
    name: 'coredns',
    command: binary,
    args: [`-conf=${file}`],
    isReady: () => isAnswering(`http://127.0.0.1:${DNS_HEALTH_PORT}/ready`),
  });
}

/** Service addresses. */
export function startKubeProxy({ binary, controlPlane }: NetworkOptions): Promise<RunningProcess> {
  const kubeconfig = controlPlane.writeKubeconfig('kube-proxy', 'system:kube-proxy');
  return startProcess({
    name: 'kube-proxy',
    command: binary,
    args: [
      `--kubeconfig=${kubeconfig}`,
      '--proxy-mode=nftables',
      `--cluster-cidr=${POD_NETWORK}`,
      `--hostname-override=${NODE_NAME}`,
      // All pods hang on one bridge: an answer must come back through the node to have its address turned back, and
      // the kernel module that would see to it (br_netfilter) is not everywhere.
      '--masquerade-all',
      // The table of connections is sized for the whole machine.
      '--conntrack-max-per-core=0',
      '--oom-score-adj=0',
      `--healthz-bind-address=127.0.0.1:${PROXY_HEALTH_PORT}`,
      '--metrics-bind-address=127.0.0.1:10249',
      '--v=1',
    ],
    // /healthz also waits for the node to be there.
    isReady: () => isAnswering(`http://127.0.0.1:${PROXY_HEALTH_PORT}/livez`),
  });
}
