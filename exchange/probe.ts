// `--check`, the startup probe: is every token there and alive? No network, no log; the answer is the exit code.
import type { PodAudience } from '../common/protocol/pod.ts';
import { findToken } from './file.ts';

/** One short sentence per audience whose token is missing or has expired; none means ready. */
export function findMissing(
  root: string,
  audiences: readonly PodAudience[],
  nowMs: number,
): readonly string[] {
  return audiences.flatMap(({ name, audience }) => {
    const stored = findToken(root, name);
    if (stored?.content.audience !== audience) return [`no token for audience ${audience} yet`];
    return stored.expiresMs > nowMs ? [] : [`the token for audience ${audience} has expired`];
  });
}
