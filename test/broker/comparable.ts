// Two records of the same decision, made one after the other: what is left to compare once ids, the dialect and the
// distance in time are taken away.
import type { DecisionRecord } from '../../broker/decision-record.ts';

const OWN = ['kind', 'time', 'correlationId', 'dialect', 'tokenId'];

/** The record without its own ids; what was counted from the moment of the decision is `TIME`. */
export function toComparable(
  record: DecisionRecord | undefined,
): Readonly<Record<string, unknown>> {
  const entries = Object.entries(record ?? {}).filter(([name]) => !OWN.includes(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutTime(name, value)]));
}

function withoutTime(name: string, value: unknown): unknown {
  if (name === 'expiresAt') return 'TIME';
  if (name === 'expiryCaps') {
    // The subject token's own end is the same for both.
    const caps = Object.entries(value as object);
    return Object.fromEntries(caps.map(([cap, at]) => [cap, cap === 'subject' ? at : 'TIME']));
  }
  if (name === 'detail') return String(value).replace(/\b\d+ s\b/, 'TIME s');
  if (name !== 'failed') return value;
  const { want, ...rest } = value as { want: unknown };
  return { ...rest, want: typeof want === 'string' ? want.replace(/\d{9,}/g, 'TIME') : want };
}
