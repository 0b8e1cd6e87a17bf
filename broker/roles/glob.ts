// Anchored globs with `*` as the only special character: matched in linear time, and told apart from exact names.

/** Whether a pattern can match more than itself. */
export function isGlob(pattern: string): boolean {
  return pattern.includes('*');
}

/** Whether the whole of `text` fits `pattern`, each `*` standing for any characters, none included. */
export function isMatch(pattern: string, text: string): boolean {
  if (!isGlob(pattern)) return pattern === text;
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  // The leftmost fit of each part in turn leaves the most room for the rest, so nothing is ever tried twice.
  const end = text.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * Whether some text fits both patterns. Of two globs one does unless the letters before the first `*` of either, or those
 * after the last, disagree: whatever each wants in between, one after the other, the `*` of the other lets through.
 */
export function isOverlap(a: string, b: string): boolean {
  if (!isGlob(a)) return isMatch(b, a);
  if (!isGlob(b)) return isMatch(a, b);
  const head = Math.min(a.indexOf('*'), b.indexOf('*'));
  const tail = Math.min(a.length - a.lastIndexOf('*'), b.length - b.lastIndexOf('*')) - 1;
  return (
    a.slice(0, head) === b.slice(0, head) && a.slice(a.length - tail) === b.slice(b.length - tail)
  );
}
