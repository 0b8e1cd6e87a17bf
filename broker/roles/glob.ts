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

/** How much may still be spent on comparing; below zero: it was too much, and answers mean nothing any more. */
export interface Work {
  left: number;
}

/** Whether some text fits both patterns. Quadratic where both are globs: for reports about roles, not for requests. */
export function isOverlap(a: string, b: string, work?: Work): boolean {
  if (!isGlob(a)) return isMatch(b, a);
  if (!isGlob(b)) return isMatch(a, b);
  if (!isSameAsFarAsWritten(a, b)) return false;
  if (work) work.left -= a.length * b.length;
  if (work && work.left < 0) return false;
  // reach[j]: what is left of `a` and `b` from j on can still meet; computed from the ends backwards.
  let next = new Array<boolean>(b.length + 1).fill(false);
  for (let i = a.length; i >= 0; i--) {
    const reach = new Array<boolean>(b.length + 1).fill(false);
    for (let j = b.length; j >= 0; j--) reach[j] = isReachable({ a, b, i, j, next, reach });
    next = reach;
  }
  return next[0] ?? false;
}

/** Whether the letters before the first `*` of either, and those after the last, agree: most pairs end here. */
function isSameAsFarAsWritten(a: string, b: string): boolean {
  const head = Math.min(a.indexOf('*'), b.indexOf('*'));
  const tail = Math.min(a.length - a.lastIndexOf('*'), b.length - b.lastIndexOf('*')) - 1;
  return (
    a.slice(0, head) === b.slice(0, head) && a.slice(a.length - tail) === b.slice(b.length - tail)
  );
}

function isReachable(step: {
  a: string;
  b: string;
  i: number;
  j: number;
  next: readonly boolean[];
  reach: readonly boolean[];
}): boolean {
  const { a, b, i, j, next, reach } = step;
  const left = a[i];
  const right = b[j];
  if (left === undefined && right === undefined) return true;
  if (left === '*') return next[j] === true || (right !== undefined && reach[j + 1] === true);
  if (right === '*') return reach[j + 1] === true || (left !== undefined && next[j] === true);
  return left !== undefined && left === right && next[j + 1] === true;
}
