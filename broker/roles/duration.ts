// Durations as roles write them: `15m`, `1h30m`, `90s`, or whole seconds.

export const DURATION_RULE = 'a duration like 15m, 1h30m, 90s, or whole seconds';

/** Seconds, or undefined if the value is no duration; see {@link DURATION_RULE}. Nothing is zero or negative. */
export function findSeconds(value: unknown): number | undefined {
  const text = typeof value === 'number' ? `${value}s` : value;
  if (typeof text !== 'string') return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) || undefined;
  const match = /^(?=\d)(?:(\d{1,5})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?$/.exec(text);
  if (!match) return undefined;
  const [, hours = '0', minutes = '0', seconds = '0'] = match;
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) || undefined;
}
