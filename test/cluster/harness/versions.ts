// What the cluster tier builds and how: one place for versions and flags, and the key of the cache that follows from
// them. A change of any of it is another folder in the cache; the old one stays until someone deletes it.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** Must equal the version in kube/go.mod. */
export const KUBERNETES_VERSION = '1.34.4';
/** kube/go.mod asks for it; older ones cannot read that file. */
export const GO_MINIMUM = '1.24';

export const KUBE_MODULE = path.join(import.meta.dirname, 'kube');

/** Programs of the first tier; the node's own (kubelet, kube-proxy, scheduler) are pinned in kube/tools.go as well. */
export const KUBE_PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;
export type KubeProgram = (typeof KUBE_PROGRAMS)[number];

const [MAJOR, MINOR] = KUBERNETES_VERSION.split('.');
const VERSION_PACKAGE = 'k8s.io/component-base/version';

/** Without the version stamps kubectl and the API server call themselves v0.0.0, and version checks fail. */
export const LINKER_FLAGS = [
  '-s',
  '-w',
  `-X ${VERSION_PACKAGE}.gitVersion=v${KUBERNETES_VERSION}`,
  `-X ${VERSION_PACKAGE}.gitMajor=${MAJOR}`,
  `-X ${VERSION_PACKAGE}.gitMinor=${MINOR}`,
].join(' ');

/** Two compilers at once, so that a small CI machine keeps enough memory for them. */
export const BUILD_ARGUMENTS = ['build', '-buildvcs=false', '-p', '2', '-ldflags', LINKER_FLAGS];

/** The cache folder's name: readable version, and a hash over everything that changes the binaries. */
export function toCacheKey(platform: string): string {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum', 'tools.go']) {
    hash.update(readFileSync(path.join(KUBE_MODULE, file)));
  }
  hash.update(JSON.stringify([platform, BUILD_ARGUMENTS, KUBE_PROGRAMS]));
  return `kube-${KUBERNETES_VERSION}-${hash.digest('hex').slice(0, 16)}`;
}
