// containerd with socket, folders and configuration of its own, and the images that the suites need loaded into it.
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { type RunningProcess, startProcess } from '../process.ts';
import { NODE_BRIDGE, NODE_FOLDER, POD_NETWORK } from './machine.ts';
import type { NodeBinaries } from './programs.ts';

const FOLDER = `${NODE_FOLDER}/containerd`;
const SOCKET = `${FOLDER}/containerd.sock`;
const CNI_CONFIGURATION = `${FOLDER}/cni`;

/** What the kubelet calls it. */
export const RUNTIME_ENDPOINT = `unix://${SOCKET}`;

export interface Containerd extends RunningProcess {
  /** Loads an OCI archive under the name it states. @throws Error with what ctr said. */
  load(archive: string): Promise<void>;
}

/** Resolves when it answers. */
export async function startContainerd(binaries: NodeBinaries): Promise<Containerd> {
  mkdirSync(CNI_CONFIGURATION, { recursive: true });
  const file = path.join(FOLDER, 'config.toml');
  writeFileSync(file, toConfiguration(binaries));
  writeFileSync(path.join(CNI_CONFIGURATION, '10-pods.conflist'), JSON.stringify(toNetwork()));
  const ctr = (...args: string[]) =>
    promisify(execFile)(binaries.ctr, ['--address', SOCKET, '--namespace', 'k8s.io', ...args]);
  const running = await startProcess({
    name: 'containerd',
    command: binaries.containerd,
    args: ['--config', file],
    isReady: () =>
      ctr('version').then(
        () => true,
        () => false,
      ),
  });
  return {
    ...running,
    load: async (archive) => {
      await ctr('images', 'import', '--snapshotter', findSnapshotter(), archive);
    },
  };
}

// restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE (a container, a small CI machine) every sandbox fails with
// "can't get final child's PID from pipe: EOF" without it. AppArmor's profiles belong to the machine and stay alone.
function toConfiguration({ cni, runc }: NodeBinaries): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${FOLDER}/root"
state = "${FOLDER}/state"
[grpc]
address = "${SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "${FOLDER}/opt"
[${cri}]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
[${cri}.containerd]
snapshotter = "${findSnapshotter()}"
default_runtime_name = "runc"
[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
BinaryName = "${runc}"
SystemdCgroup = false
[${cri}.cni]
bin_dir = "${cni}"
conf_dir = "${CNI_CONFIGURATION}"
`;
}

function toNetwork(): object {
  return {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: NODE_BRIDGE,
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: `${FOLDER}/addresses`,
          ranges: [[{ subnet: POD_NETWORK }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  };
}

/** Overlays work on most file systems and kernels; `native` copies, which is slower and always works. */
function findSnapshotter(): 'overlayfs' | 'native' {
  const folder = `${NODE_FOLDER}/overlay-probe`;
  const layers = ['lower', 'upper', 'work', 'merged'].map((name) => path.join(folder, name));
  for (const layer of layers) mkdirSync(layer, { recursive: true });
  const [lower, upper, work, merged = ''] = layers;
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  const probe = spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged]);
  if (probe.status === 0) spawnSync('umount', [merged]);
  rmSync(folder, { recursive: true, force: true });
  return probe.status === 0 ? 'overlayfs' : 'native';
}
