// kube-scheduler, which gives pods to the one node there is.
import type { ControlPlane } from '../control-plane.ts';
import { type RunningProcess, startProcess } from '../process.ts';

const PORT = 10259;

/** Resolves when it has seen the cluster. */
export function startScheduler({
  binary,
  controlPlane,
}: {
  binary: string;
  controlPlane: ControlPlane;
}): Promise<RunningProcess> {
  const kubeconfig = controlPlane.writeKubeconfig('scheduler', 'system:kube-scheduler');
  const { caFile, serverCertificateFile, serverKeyFile } = controlPlane.pki;
  return startProcess({
    name: 'kube-scheduler',
    command: binary,
    args: [
      `--kubeconfig=${kubeconfig}`,
      `--authentication-kubeconfig=${kubeconfig}`,
      `--authorization-kubeconfig=${kubeconfig}`,
      `--client-ca-file=${caFile}`,
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
      `--secure-port=${PORT}`,
      `--tls-cert-file=${serverCertificateFile}`,
      `--tls-private-key-file=${serverKeyFile}`,
      '--v=1',
    ],
    isReady: () => controlPlane.isHealthy(PORT, '/readyz'),
  });
}
