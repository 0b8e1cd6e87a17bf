// Kubernetes quantities, as far as they must be compared ("1" is "1000m") or written in canonical form, the form in which
// the API server gives them back: what we write must equal what we read.

const DECIMAL_EXPONENTS: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY_UNITS = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

// Bounded, because a number of thousands of digits would be tried in as many splits.
const QUANTITY =
  /^([+-]?(?:\d{1,32}(?:\.\d{0,32})?|\.\d{1,32}))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?$/;

/** The amount of a quantity (`500m` is 0.5), undefined where it is none. Equal amounts are equal numbers. */
export function findAmount(quantity: unknown): number | undefined {
  if (typeof quantity !== 'string' && typeof quantity !== 'number') return undefined;
  const match = QUANTITY.exec(String(quantity));
  if (!match) return undefined;
  const [, number = '', unit = '', exponent] = match;
  const power = BINARY_UNITS.indexOf(unit) + 1;
  if (power > 0) return Number(number) * 1024 ** power;
  // Put together as text, so that it is rounded once: 700 * 1e-3 is not 0.7.
  return Number(`${number}e${exponent ?? DECIMAL_EXPONENTS[unit] ?? 0}`);
}

/** `1000m` → `1`. @throws Error that says what is allowed. */
export function parseCpu(text: string): string {
  const match = /^([1-9]\d{0,6})(m?)$/.exec(text);
  if (!match)
    throw new Error('must be a CPU quantity in whole cores or millicores, like 1 or 500m');
  const number = Number(match[1]);
  if (match[2] === '') return `${number}`;
  return number % 1000 === 0 ? `${number / 1000}` : `${number}m`;
}

/** `1024Mi` → `1Gi`. @throws Error that says what is allowed. */
export function parseMemory(text: string): string {
  const match = /^([1-9]\d{0,9})([KMG]i)$/.exec(text);
  if (!match) throw new Error('must be a memory quantity in whole Ki, Mi or Gi, like 128Mi');
  let number = Number(match[1]);
  const units = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi'];
  let unit = units.indexOf(match[2] ?? '');
  while (number % 1024 === 0 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${number}${units[unit]}`;
}
