// Kubernetes quantities, as far as they must be compared ("1" is "1000m") or written in canonical form, the form in which
// the API server gives them back: what we write must equal what we read.

const UNITS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The amount of a quantity (`500m` is 0.5), undefined where it is none. */
export function findAmount(quantity: unknown): number | undefined {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?$/.exec(
    String(quantity),
  );
  if (!match) return undefined;
  return (
    Number(match[1]) *
    (match[3] === undefined ? (UNITS[match[2] ?? ''] ?? 1) : 10 ** Number(match[3]))
  );
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
