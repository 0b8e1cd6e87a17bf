// What the cluster tier builds and how: one place for versions and flags, and the key of the cache that follows from
// them. Each component is an entry of its own, so that a change of one does not build Kubernetes again; a change is
// another folder in the cache, and the old one stays until someone deletes it.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Must equal the version in kube/go.mod. */
export const KUBERNETES_VERSION = '1.34.4';
/** Must equal the version in coredns/go.mod. */
const COREDNS_VERSION = '1.14.6';
/** Must equal the version in helm/go.mod. */
const HELM_VERSION = '3.22.0';
/** kube/go.mod asks for it; older ones cannot read that file. */
export const GO_MINIMUM = '1.24';
/** coredns/go.mod and helm/go.mod ask for it. */
export const GO_MINIMUM_OF_NODE = '1.25';

export interface Component {
  /** First word of its folder in the cache. */
  readonly name: string;
  readonly version: string;
  /** Folder with go.mod. */
  readonly module: string;
  /** Import path of a program, without its own name. */
  readonly packages: string;
  readonly programs: readonly string[];
  readonly buildArguments: readonly string[];
  /** Measured from nothing on two cores, for the line that asks for patience. */
  readonly patience: string;
  /** Go must not use the C compiler: the program has to run where no C library is. */
  readonly static?: true;
}

const moduleOf = (name: string) => path.join(import.meta.dirname, name);

const [MAJOR, MINOR] = KUBERNETES_VERSION.split('.');
const VERSION_PACKAGE = 'k8s.io/component-base/version';

/** Without the version stamps kubectl and the API server call themselves v0.0.0, and version checks fail. */
const KUBE_LINKER_FLAGS = [
  '-s',
  '-w',
  `-X ${VERSION_PACKAGE}.gitVersion=v${KUBERNETES_VERSION}`,
  `-X ${VERSION_PACKAGE}.gitMajor=${MAJOR}`,
  `-X ${VERSION_PACKAGE}.gitMinor=${MINOR}`,
].join(' ');

/** Two compilers at once, so that a small CI machine keeps enough memory for them. */
const toBuildArguments = (linkerFlags: string) => [
  'build',
  '-buildvcs=false',
  '-p',
  '2',
  '-ldflags',
  linkerFlags,
];

/** What the first tier needs: an API server with its controllers. */
export const CONTROL_PLANE: Component = {
  name: 'kube',
  version: KUBERNETES_VERSION,
  module: moduleOf('kube'),
  packages: 'k8s.io/kubernetes/cmd',
  programs: ['kube-apiserver', 'kube-controller-manager', 'kubectl'],
  buildArguments: toBuildArguments(KUBE_LINKER_FLAGS),
  patience: '10 to 15 minutes on two cores',
};

export const NODE: Component = {
  ...CONTROL_PLANE,
  name: 'kube-node',
  programs: ['kubelet', 'kube-proxy', 'kube-scheduler'],
  patience: '3 minutes on two cores after the control plane',
};

export const COREDNS: Component = {
  name: 'coredns',
  version: COREDNS_VERSION,
  module: moduleOf('coredns'),
  packages: 'github.com/coredns',
  programs: ['coredns'],
  buildArguments: toBuildArguments('-s -w'),
  patience: '2 to 3 minutes on two cores',
};

export const HELM: Component = {
  name: 'helm',
  version: HELM_VERSION,
  module: moduleOf('helm'),
  packages: 'helm.sh/helm/v3/cmd',
  programs: ['helm'],
  buildArguments: toBuildArguments(
    `-s -w -X helm.sh/helm/v3/internal/version.version=v${HELM_VERSION}`,
  ),
  patience: '2 to 3 minutes on two cores',
};

export const PAUSE: Component = {
  name: 'pause',
  version: '1',
  module: moduleOf('pause'),
  packages: 'coatcheck.example/test',
  programs: ['pause'],
  buildArguments: toBuildArguments('-s -w'),
  patience: 'seconds',
  static: true,
};

/** The cache folder's name: readable version, and a hash over everything that changes the binaries. */
export function toCacheKey(platform: string, component: Component = CONTROL_PLANE): string {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum', 'tools.go', 'main.go']) {
    const source = path.join(component.module, file);
    if (existsSync(source)) hash.update(readFileSync(source));
  }
  hash.update(JSON.stringify([platform, component.buildArguments, component.programs]));
  return `${component.name}-${component.version}-${hash.digest('hex').slice(0, 16)}`;
}
