// The `status` annotation: what was decided for this pod, for people to read. Written by us, read by nobody of ours.
import type { Mode, PodAudience } from '../common/protocol/pod.ts';
import { TOKEN_FILE } from '../common/protocol/pod.ts';
import type { Target } from './targets.ts';

// All annotations of a pod share 256 KiB.
const MOST_CONTAINERS = 40;

/** The annotation's value: compact JSON, the same for the same decision. */
export function toStatusText(decision: {
  mode: Mode;
  mountRoot: string;
  audiences: readonly PodAudience[];
  targets: readonly Target[];
}): string {
  const { mode, mountRoot, audiences, targets } = decision;
  const more = targets.length - MOST_CONTAINERS;
  return JSON.stringify({
    mode,
    audiences: audiences.map(({ name, audience, role }) => ({
      audience,
      file: `${mountRoot}/${name}/${TOKEN_FILE}`,
      role,
    })),
    containers: targets.slice(0, MOST_CONTAINERS).map(({ container, audiences: given }) => ({
      name: container.name,
      // Only where it is not all of them.
      ...(given.length < audiences.length && { audiences: given.map(({ name }) => name) }),
    })),
    ...(more > 0 && { moreContainers: more }),
  });
}
