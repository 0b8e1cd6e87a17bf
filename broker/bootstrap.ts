// The bootstrap token: an administrator for the first hour of an installation, out of a Secret. It is taken into use once
// for ever: the store remembers its hash, so that neither a restart nor another replica takes it a second time.
import { readFileSync } from 'node:fs';
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { Secret, tokenFingerprint } from '../common/secret.ts';
import { POLICY_ROOT } from './policies.ts';
import { toStoredStatic } from './static-tokens.ts';
import { type StoredToken, StoreError, type TokenStore } from './store/store.ts';
import { hashToken, newOpaqueToken, parseOpaqueToken, type RandomBytes } from './tokens/opaque.ts';
import { BOOTSTRAP_NAME } from './within.ts';

const MIN_LENGTH = 32;
const MAX_LENGTH = 512;
/** 32 random hex digits have fewer than this many different ones about once in 10^7 times; words and runs always. */
const MIN_DIFFERENT = 8;

/** What makes a token weak; a sentence's end, quoting nothing. */
export function findBootstrapProblem(text: string): string | undefined {
  if (parseOpaqueToken(text)) return undefined;
  if (!/^[\x21-\x7e]+$/.test(text)) return 'must be one line of printable ASCII without spaces';
  if (text.startsWith('cc_')) return 'begins like a token of ours, and its checksum is wrong';
  if (text.length < MIN_LENGTH || text.length > MAX_LENGTH)
    return `must be ${MIN_LENGTH} to ${MAX_LENGTH} characters, as from "openssl rand -hex 32"`;
  return new Set(text).size < MIN_DIFFERENT ? 'must be random' : undefined;
}

/**
 * Reads the token from its file; blanks and a newline at the end do not count.
 * @throws Error whose message names the file and quotes nothing of it
 */
export function readBootstrapToken(file: string): Secret {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trimEnd();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new Error(`${file}: the bootstrap token cannot be read (${code})`);
  }
  const problem = findBootstrapProblem(text);
  if (problem !== undefined) throw new Error(`${file}: the bootstrap token ${problem}`);
  return new Secret(text);
}

export interface BootstrapDeps {
  readonly tokens: Pick<TokenStore, 'insertOnce' | 'findByHash'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly randomBytes: RandomBytes;
  readonly ttlSeconds: number;
}

/**
 * Takes the token into use, if it never was: `taken`, `alive` where it was taken before and has not ended, or `spent`.
 * @throws StoreError
 */
export async function takeBootstrapToken(
  token: Secret,
  deps: BootstrapDeps,
): Promise<'taken' | 'alive' | 'spent'> {
  const { tokens, clock, log } = deps;
  const text = token.reveal();
  const fingerprint = tokenFingerprint(text);
  const row = toRow(text, deps);
  if (await insertUnlessHeld(row, deps)) {
    log.warn(
      { fingerprint, accessor: row.accessor, expiresAt: toTime(row.expiresAt) },
      'bootstrap token taken into use: revoke it once you have made another, and delete its Secret',
    );
    return 'taken';
  }
  const known = await tokens.findByHash(row.hash);
  if (known && known.expiresAt > nowSeconds(clock)) {
    log.info(
      { fingerprint, accessor: known.accessor, expiresAt: toTime(known.expiresAt) },
      'bootstrap token is in use already',
    );
    return 'alive';
  }
  log.warn(
    { fingerprint },
    'bootstrap token refused: it was taken once and has ended or was revoked, or another one lives',
  );
  return 'spent';
}

/** The name is one token's at a time: while another bootstrap token lives, this one is left for a later start. */
async function insertUnlessHeld(
  row: StoredToken,
  { tokens, log }: BootstrapDeps,
): Promise<boolean> {
  try {
    return await tokens.insertOnce(row);
  } catch (error) {
    if (!(error instanceof StoreError) || error.kind !== 'conflict') throw error;
    log.warn(
      {},
      'another bootstrap token lives: this one is not taken into use before it has ended',
    );
    return false;
  }
}

/** A token of our form has its accessor in it; another one gets an accessor that has nothing to do with it. */
function toRow(text: string, { clock, randomBytes, ttlSeconds }: BootstrapDeps): StoredToken {
  const { accessor } = parseOpaqueToken(text) ?? newOpaqueToken(randomBytes);
  return toStoredStatic(
    {
      name: BOOTSTRAP_NAME,
      description: 'from bootstrapTokenFile',
      policies: [POLICY_ROOT],
      scopes: [],
      ttlSeconds,
    },
    { accessor, hash: hashToken(text), by: 'operator', now: nowSeconds(clock) },
  );
}

function toTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
