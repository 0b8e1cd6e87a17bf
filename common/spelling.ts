// "Did you mean": the nearest known word to a misspelt one. For flags, variables, annotations and role fields.

/** `; did you mean X?` for the nearest candidate, empty if none is near. */
export function didYouMean(given: string, candidates: Iterable<string>): string {
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(given, candidate);
    if (!best || distance < best.distance) best = { candidate, distance };
  }
  const limit = Math.max(2, Math.floor(given.length / 4));
  return best && best.distance <= limit ? `; did you mean ${best.candidate}?` : '';
}

/** Levenshtein distance; inputs are short names (longer ones are cut: nobody misspells 100 characters into a setting). */
export function editDistance(left: string, right: string): number {
  const a = left.slice(0, 100);
  const b = right.slice(0, 100);
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
