// Which regular expressions a condition may hold. The engine is RE2's, linear in the text; but its factor is the size of
// the program, and compiling is not free either. So patterns are literals, small, and weighed when the role is loaded.

export const MAX_PATTERN_WEIGHT = 256;
const MAX_PATTERN_LENGTH = 128;
const MAX_REPEAT = 64;
const REPEAT = /(.)\{(\d{1,6})(?:,(\d{0,6}))?\}/g;

/**
 * States of the pattern's program, counted so that it is never less: a repeated group weighs as often as it repeats.
 */
export function weighPattern(pattern: string): number {
  let states = pattern.length;
  let times = 1;
  for (const [, before, least = '0', most = ''] of pattern.matchAll(REPEAT)) {
    const count = Math.max(Number(least), Number(most), 1);
    if (before === ')') times *= count;
    else states += count;
  }
  return states * times;
}

/** Why a condition may not hold this pattern; undefined if it may. Says nothing about its syntax. */
export function findPatternProblem(pattern: string): string | undefined {
  if (pattern.length > MAX_PATTERN_LENGTH)
    return `a pattern must be at most ${MAX_PATTERN_LENGTH} characters`;
  // Wide ranges without regard to case take tens of milliseconds to compile: `(?i)[b-\x{10fffe}]`.
  if (!/^[\x20-\x7e]*$/.test(pattern) || /\\[pPxuQC0-7]/.test(pattern))
    return 'a pattern must be printable ASCII without \\p, \\x, \\Q and octal escapes';
  const counts = [...pattern.matchAll(REPEAT)].flatMap(([, , least, most]) => [least, most]);
  if (counts.some((count) => Number(count ?? 0) > MAX_REPEAT))
    return `a pattern must not repeat more than ${MAX_REPEAT} times`;
  return weighPattern(pattern) > MAX_PATTERN_WEIGHT
    ? 'a pattern must be smaller: its repetitions make it too large'
    : undefined;
}
