// The kubelet, with credentials as a node has them and nothing of the machine's own in its reach.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { issueCertificate } from '../../../../common/certificates.ts';
import type { ControlPlane } from '../control-plane.ts';
import { type RunningProcess, startProcess } from '../process.ts';
import { RUNTIME_ENDPOINT } from './containerd.ts';
import { isAnswering } from './health.ts';
import { NODE_ADDRESS, NODE_FOLDER, NODE_NAME, RESOLV_CONF } from './machine.ts';

const FOLDER = `${NODE_FOLDER}/kubelet`;
const HEALTH_PORT = 10248;
const DAY_MS = 24 * 60 * 60 * 1000;

export interface KubeletOptions {
  binary: string;
  controlPlane: ControlPlane;
  cgroup: string;
  now: number;
}

/** Resolves when it is healthy; the node is Ready a moment later. */
export function startKubelet(options: KubeletOptions): Promise<RunningProcess> {
  const { binary, controlPlane, cgroup, now } = options;
  mkdirSync(FOLDER, { mode: 0o700 });
  const serving = issueCertificate(
    {
      commonName: `system:node:${NODE_NAME}`,
      names: [NODE_NAME, NODE_ADDRESS],
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + DAY_MS),
    },
    controlPlane.pki.ca,
  );
  const certificateFile = writeSecret('tls.crt', serving.certificate);
  const keyFile = writeSecret('tls.key', serving.key);
  const kubeconfig = controlPlane.writeKubeconfig('kubelet', `system:node:${NODE_NAME}`, [
    'system:nodes',
  ]);
  const configuration = writeSecret(
    'config.json',
    JSON.stringify({
      ...toConfiguration(cgroup),
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: controlPlane.pki.caFile },
      },
      authorization: { mode: 'Webhook' },
      tlsCertFile: certificateFile,
      tlsPrivateKeyFile: keyFile,
    }),
  );
  return startProcess({
    name: 'kubelet',
    command: binary,
    args: [
      `--config=${configuration}`,
      `--kubeconfig=${kubeconfig}`,
      `--root-dir=${FOLDER}/root`,
      `--cert-dir=${FOLDER}/certificates`,
      `--hostname-override=${NODE_NAME}`,
      `--node-ip=${NODE_ADDRESS}`,
      '--v=2',
    ],
    isReady: () => isAnswering(`http://127.0.0.1:${HEALTH_PORT}/healthz`),
  });
}

function toConfiguration(cgroup: string): object {
  return {
    kind: 'KubeletConfiguration',
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    address: NODE_ADDRESS,
    healthzPort: HEALTH_PORT,
    containerRuntimeEndpoint: RUNTIME_ENDPOINT,
    clusterDNS: [NODE_ADDRESS],
    clusterDomain: 'cluster.local',
    resolvConf: RESOLV_CONF,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    enforceNodeAllocatable: [],
    // Newer kubelets refuse cgroup v1 where nobody says that it is known.
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    // A machine with little space left is still good enough for a test.
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    serializeImagePulls: false,
    volumePluginDir: `${FOLDER}/volume-plugins`,
    // What changes a pod's files, its service account's token among them, arrives within this.
    syncFrequency: '10s',
  };
}

function writeSecret(name: string, content: string): string {
  const file = path.join(FOLDER, name);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
}
