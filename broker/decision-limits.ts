// How much of a value a decision record shows: what a caller put into a token must not decide how large a line is.

const MAX_TEXT = 256;
const MAX_ITEMS = 16;
const MAX_DEPTH = 4;
/** Characters of one value, names and texts together. */
const MAX_CHARACTERS = 512;

/** The text, or its beginning and how much is missing. */
export function limitText(text: string, max = MAX_TEXT): string {
  return text.length <= max ? text : `${text.slice(0, max)}… (${text.length - max} more)`;
}

/** The value with long texts, long lists and deep objects cut; what was cut says so in its place. */
export function limitValue(value: unknown): unknown {
  if (typeof value === 'string') return limitText(value);
  if (typeof value !== 'object' || value === null) return value;
  return limitWithin(value, { left: MAX_CHARACTERS }, 0);
}

function limitWithin(value: unknown, budget: { left: number }, depth: number): unknown {
  if (typeof value === 'string') {
    const max = Math.min(MAX_TEXT, Math.max(0, budget.left));
    budget.left -= value.length;
    return limitText(value, max);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (depth === MAX_DEPTH || budget.left <= 0) return '…';
  if (Array.isArray(value)) {
    const shown: unknown[] = value
      .slice(0, MAX_ITEMS)
      .map((item) => limitWithin(item, budget, depth + 1));
    return value.length > MAX_ITEMS ? [...shown, `… (${value.length - MAX_ITEMS} more)`] : shown;
  }
  const entries = Object.entries(value);
  const shown = entries
    .slice(0, MAX_ITEMS)
    .map(([name, item]) => [
      limitWithin(name, budget, depth) as string,
      limitWithin(item, budget, depth + 1),
    ]);
  if (entries.length > MAX_ITEMS) shown.push(['…', `${entries.length - MAX_ITEMS} more`]);
  return Object.fromEntries(shown) as unknown;
}
