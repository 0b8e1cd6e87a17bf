// Long work in pieces: between two of them the process looks at its connections, so that nobody waits for the whole of it.
import { setImmediate as breathe } from 'node:timers/promises';

export { breathe };

/** About a millisecond of looking at texts of the size of a uid. */
const PIECE = 5000;

/** A set of a long list. */
export async function toSetInPieces<T>(list: readonly T[]): Promise<ReadonlySet<T>> {
  const set = new Set<T>();
  for (let at = 0; at < list.length; at += PIECE) {
    if (at > 0) await breathe();
    for (const item of list.slice(at, at + PIECE)) set.add(item);
  }
  return set;
}
