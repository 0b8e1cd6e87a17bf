// What was acknowledged, and by that what no broker may ever deny again. An answer that came while the opposite was being
// asked for proves nothing; everything else is held against what is written here.
import type { BrokerProcess, TokenKind } from './installation.ts';
import type { Requests } from './requests.ts';

export interface Entry {
  readonly token: string;
  readonly kind: TokenKind;
  /** `unsure` from the moment that its end was asked for until that was answered. */
  state: 'live' | 'unsure' | 'revoked';
  /** Who said that it is revoked. */
  revokedBy?: BrokerProcess;
}

export interface Ledger {
  readonly entries: readonly Entry[];
  add(token: string, kind: TokenKind): Entry;
  /** Any of them. */
  pick(random: () => number): Entry | undefined;
  revoke(entry: Entry, on: BrokerProcess): Promise<Awaited<ReturnType<Requests['revoke']>>>;
  /**
   * Asks and holds the answer against the entry. Another broker than the one that said `revoked` may not have heard of it
   * yet, unless `isSettled`.
   */
  check(
    entry: Entry,
    on: BrokerProcess,
    options?: { isSettled?: boolean },
  ): Promise<Awaited<ReturnType<Requests['introspect']>>>;
  /** Checks all of them; everything must be answered. Resolves to how many of each state there were. */
  checkAll(on: BrokerProcess): Promise<Readonly<Record<Entry['state'], number>>>;
  /** Every answer that was false, a sentence each. */
  readonly lies: readonly string[];
}

const PARALLEL = 12;

export function createLedger({ introspect, revoke }: Requests): Ledger {
  const entries: Entry[] = [];
  const lies: string[] = [];

  const check: Ledger['check'] = async (entry, on, { isSettled = false } = {}) => {
    const { state } = entry;
    const mustBeGone = state === 'revoked' && (isSettled || entry.revokedBy === on);
    const answer = await introspect(on, entry.token);
    if (mustBeGone && answer === 'active')
      lies.push(`${on.name} called a revoked token (${entry.kind}) active`);
    if (state === 'live' && entry.state === 'live' && answer === 'inactive')
      lies.push(`${on.name} called a live token (${entry.kind}) inactive`);
    return answer;
  };

  return {
    entries,
    lies,
    add: (token, kind) => {
      const entry: Entry = { token, kind, state: 'live' };
      entries.push(entry);
      return entry;
    },
    pick: (random) => entries[Math.floor(random() * entries.length)],
    revoke: async (entry, on) => {
      entry.state = 'unsure';
      const answer = await revoke(on, entry.token);
      if (answer === 'revoked') {
        entry.state = 'revoked';
        entry.revokedBy = on;
      }
      return answer;
    },
    check,
    checkAll: async (on) => {
      const counts = { live: 0, unsure: 0, revoked: 0 };
      let next = 0;
      const work = async () => {
        for (let entry = entries[next++]; entry; entry = entries[next++]) {
          counts[entry.state] += 1;
          const answer = await check(entry, on, { isSettled: true });
          if (answer === 'unavailable' || answer === 'unanswered')
            throw new Error(`${on.name} did not say anything of a token: ${answer}`);
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, work));
      return counts;
    },
  };
}
