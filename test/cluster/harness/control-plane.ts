// etcd, kube-apiserver and, where there is one, kube-controller-manager: real programs on one address, with everything
// they write below one folder. The node (containerd, kubelet, kube-proxy, DNS) is not theirs and joins beside them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import path from 'node:path';
import type { ClusterBinaries } from './binaries.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { type ClusterPki, createPki, type KeyPairFiles } from './pki.ts';
import { findFreePorts } from './ports.ts';
import { type RunningProcess, startProcess } from './process.ts';

/** kubeadm's default: many clusters in the world state this very issuer. */
const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const ADDRESS = '127.0.0.1';
/** It would wait a minute for whoever watches; nothing is lost with it. */
const RESTART_MS = 2000;

export interface ControlPlane {
  /** `https://…` of the API server. */
  readonly server: string;
  /** Of an administrator (`system:masters`). */
  readonly kubeconfig: string;
  readonly pki: ClusterPki;
  /** On loopback, plain. */
  readonly etcdPort: number;
  /** Credentials of one more user, as a file beside the others. */
  readonly writeKubeconfig: (
    name: string,
    commonName: string,
    organizations?: readonly string[],
  ) => string;
  /** Whether a server on this loopback port, with a certificate of this cluster, answers 200. */
  readonly isHealthy: (port: number, endpoint: string) => Promise<boolean>;
  /** Restarts the API server with a new key for ServiceAccount tokens; those signed before stay valid until they expire. */
  rotateSigningKey(): Promise<void>;
  /** Restarts the API server with the newest of these keys alone. */
  dropOldSigningKeys(): Promise<void>;
  /** Stops the API server and starts it again as it was. */
  restartApiServer(): Promise<void>;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  binaries: ClusterBinaries;
  /** An existing, empty folder. */
  folder: string;
  now: number;
  /** An address of this machine where a node's pods reach the API server; none: loopback alone. */
  nodeAddress?: string;
  /** For a cluster beside another: its name, and the other's etcd, in which it keeps to itself. */
  beside?: { name: string; etcdPort: number };
}

/** Resolves when the API server is ready; what was already started is stopped when something fails. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { binaries, folder, now, nodeAddress, beside } = options;
  const names = [
    ADDRESS,
    'localhost',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
    '10.96.0.1',
    ...(nodeAddress === undefined ? [] : [nodeAddress]),
  ];
  const pki = createPki(folder, names, now);
  const [ownEtcdPort = 0, peerPort = 0, apiPort = 0, managerPort = 0] = await findFreePorts(4);
  const etcdPort = beside?.etcdPort ?? ownEtcdPort;
  const server = `https://${ADDRESS}:${apiPort}`;
  const kubeconfigOf = (name: string, commonName: string, organizations: readonly string[] = []) =>
    writeKubeconfig(path.join(folder, `${name}.kubeconfig`), {
      server,
      caFile: pki.caFile,
      client: pki.issueClient(commonName, organizations),
    });
  const kubeconfig = kubeconfigOf('admin', 'cluster-tier-admin', ['system:masters']);
  const addresses =
    nodeAddress === undefined ? toLoopback() : toNodeAddress(nodeAddress, folder, pki);
  const startServer = (keys: readonly KeyPairFiles[]) =>
    startApiServer({
      ...{ binary: binaries.apiServer, pki, keys, etcdPort, port: apiPort, addresses },
      ...(beside && { name: beside.name }),
    });
  let keys: readonly KeyPairFiles[] = [pki.serviceAccounts];
  let apiServer: RunningProcess | undefined;
  const running: RunningProcess[] = [];
  const stop = async () => {
    // Newest first: an API server that lost its etcd takes long to go.
    for (const process of running.toReversed()) await process.stop();
  };
  try {
    if (!beside)
      running.push(await startEtcd({ binary: binaries.etcd, folder, port: etcdPort, peerPort }));
    apiServer = await startServer(keys);
    running.push({ ...apiServer, stop: async () => apiServer?.stop() ?? 0 });
    if (binaries.controllerManager && !beside) {
      const manager = kubeconfigOf('controller-manager', 'system:kube-controller-manager');
      running.push(
        await startControllerManager({
          binary: binaries.controllerManager,
          pki,
          kubeconfig: manager,
          port: managerPort,
        }),
      );
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const restart = async () => {
    await apiServer?.stop(RESTART_MS);
    apiServer = await startServer(keys);
  };
  return {
    server,
    kubeconfig,
    pki,
    etcdPort,
    writeKubeconfig: kubeconfigOf,
    isHealthy: (port, endpoint) => isHealthy(port, endpoint, pki.ca.certificate),
    rotateSigningKey: () => {
      keys = [pki.issueServiceAccountKey(), ...keys];
      return restart();
    },
    dropOldSigningKeys: () => {
      keys = keys.slice(0, 1);
      return restart();
    },
    restartApiServer: restart,
    stop,
  };
}

function toLoopback(): string[] {
  return [
    `--bind-address=${ADDRESS}`,
    `--advertise-address=${ADDRESS}`,
    // A loopback address cannot be an endpoint of the `kubernetes` Service.
    '--endpoint-reconciler-type=none',
  ];
}

function toNodeAddress(address: string, folder: string, pki: ClusterPki): string[] {
  const client = pki.issueClient('kube-apiserver-kubelet-client', ['system:masters']);
  const write = (name: string, content: string) => {
    const file = path.join(folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  return [
    '--bind-address=0.0.0.0',
    `--advertise-address=${address}`,
    `--kubelet-certificate-authority=${pki.caFile}`,
    `--kubelet-client-certificate=${write('kubelet-client.crt', client.certificate)}`,
    `--kubelet-client-key=${write('kubelet-client.key', client.key)}`,
    // Nobody resolves a node's name here.
    '--kubelet-preferred-address-types=InternalIP',
  ];
}

function startEtcd(options: {
  binary: string;
  folder: string;
  port: number;
  peerPort: number;
}): Promise<RunningProcess> {
  const data = path.join(options.folder, 'etcd');
  mkdirSync(data, { mode: 0o700 });
  const client = `http://${ADDRESS}:${options.port}`;
  const peer = `http://${ADDRESS}:${options.peerPort}`;
  return startProcess({
    name: 'etcd',
    command: options.binary,
    args: [
      '--name=etcd',
      `--data-dir=${data}`,
      // Nothing here outlives the run.
      '--unsafe-no-fsync',
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=etcd=${peer}`,
    ],
    isReady: async () => {
      const answer = await fetch(`${client}/health`).catch(() => undefined);
      return answer !== undefined && (await answer.text()).includes('true');
    },
  });
}

function startApiServer(options: {
  binary: string;
  pki: ClusterPki;
  /** Whose tokens are good; the first signs. */
  keys: readonly KeyPairFiles[];
  etcdPort: number;
  port: number;
  /** Flags: where it listens, and how it is found. */
  addresses: readonly string[];
  /** Of one that shares an etcd. */
  name?: string;
}): Promise<RunningProcess> {
  const { pki, name } = options;
  return startProcess({
    name: name === undefined ? 'kube-apiserver' : `kube-apiserver-${name}`,
    command: options.binary,
    args: [
      `--etcd-servers=http://${ADDRESS}:${options.etcdPort}`,
      ...(name === undefined ? [] : [`--etcd-prefix=/${name}`]),
      ...options.addresses,
      `--secure-port=${options.port}`,
      `--client-ca-file=${pki.caFile}`,
      `--tls-cert-file=${pki.serverCertificateFile}`,
      `--tls-private-key-file=${pki.serverKeyFile}`,
      `--service-account-issuer=${ISSUER}`,
      ...options.keys.map(({ publicKeyFile }) => `--service-account-key-file=${publicKeyFile}`),
      `--service-account-signing-key-file=${options.keys[0]?.keyFile ?? ''}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged',
      // For the policy mode. Without such a policy in the cluster nothing else changes.
      '--feature-gates=MutatingAdmissionPolicy=true',
      '--runtime-config=admissionregistration.k8s.io/v1beta1=true',
      '--v=1',
    ],
    isReady: () => isHealthy(options.port, '/readyz', pki.ca.certificate),
  });
}

interface Manager {
  binary: string;
  pki: ClusterPki;
  kubeconfig: string;
  port: number;
}

function startControllerManager({
  binary,
  pki,
  kubeconfig,
  port,
}: Manager): Promise<RunningProcess> {
  return startProcess({
    name: 'kube-controller-manager',
    command: binary,
    args: [
      `--kubeconfig=${kubeconfig}`,
      `--authentication-kubeconfig=${kubeconfig}`,
      `--authorization-kubeconfig=${kubeconfig}`,
      `--service-account-private-key-file=${pki.serviceAccounts.keyFile}`,
      `--root-ca-file=${pki.caFile}`,
      '--use-service-account-credentials',
      '--leader-elect=false',
      `--bind-address=${ADDRESS}`,
      `--secure-port=${port}`,
      `--tls-cert-file=${pki.serverCertificateFile}`,
      `--tls-private-key-file=${pki.serverKeyFile}`,
      '--v=1',
    ],
    isReady: () => isHealthy(port, '/healthz', pki.ca.certificate),
  });
}

function isHealthy(port: number, endpoint: string, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(
      { host: ADDRESS, port, path: endpoint, ca, timeout: 2000, agent: false },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      },
    );
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(false));
    asked.end();
  });
}
