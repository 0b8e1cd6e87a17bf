// The mutated pod as a person wants to read it: YAML, with `+` before each line that the pod did not have.
import { stringify } from 'yaml';
import type { JsonObject } from '../../common/protocol/admission.ts';
import type { Screen } from './screen.ts';

/** Both pods as YAML, compared line by line. `screen` paints what is new and dims what was there. */
export function renderAdditions(before: JsonObject, after: JsonObject, screen: Screen): string {
  const old = toLines(before);
  return markAdded(old, toLines(after))
    .map(({ line, isAdded }) => (isAdded ? screen.mark(`+ ${line}`) : screen.dim(`  ${line}`)))
    .join('\n');
}

function toLines(pod: JsonObject): string[] {
  const text = stringify(pod, replaceCertificates, { lineWidth: 0, collectionStyle: 'block' });
  return text.trimEnd().split('\n');
}

/** Certificates are ten lines of noise each; the demo names them instead. */
function replaceCertificates(_key: unknown, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('-----BEGIN CERTIFICATE-----')
    ? '(the CA that signed the broker’s certificate, PEM)'
    : value;
}

/** Marks the lines of `after` that are not part of the longest run of lines it shares with `before`. */
export function markAdded(
  before: readonly string[],
  after: readonly string[],
): { line: string; isAdded: boolean }[] {
  const lengths = toCommonLengths(before, after);
  const at = (i: number, j: number): number => lengths[i]?.[j] ?? 0;
  let i = 0;
  return after.map((line, j) => {
    // Lines of `before` that appear no more are skipped: nothing is ever removed, but `{}` may become a mapping.
    while (i < before.length && at(i + 1, j) === at(i, j) && before[i] !== line) i++;
    const isShared = i < before.length && before[i] === line && at(i, j) === at(i + 1, j + 1) + 1;
    if (isShared) i++;
    return { line, isAdded: !isShared };
  });
}

/** `[i][j]`: the length of the longest common subsequence of `before` from i and `after` from j. */
function toCommonLengths(before: readonly string[], after: readonly string[]): number[][] {
  const lengths = Array.from({ length: before.length + 1 }, () =>
    new Array<number>(after.length + 1).fill(0),
  );
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const row = lengths[i] as number[];
      const below = lengths[i + 1] as number[];
      row[j] =
        before[i] === after[j] ? (below[j + 1] ?? 0) + 1 : Math.max(below[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  return lengths;
}
