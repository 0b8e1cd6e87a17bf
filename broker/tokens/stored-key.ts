// One signing key as it lies in the store: sealed, with the times that decide about it inside the seal. Whoever can write
// to the database can neither make a key that is believed nor make a true one sign early.

import type { StoredKey } from '../store/store.ts';
import type { ScheduledKey } from './key-schedule.ts';
import { parseSigningKey, type SigningKey } from './keys.ts';
import type { SealContext, Sealing } from './sealing.ts';

const PURPOSE = 'coatcheck signing key';

export interface OpenedKey extends ScheduledKey {
  readonly sealedBy: string;
}

/** The row for a new key. Times in seconds since the epoch. */
export function sealKey(
  sealing: Sealing,
  { key, createdAt, signsFrom }: Pick<ScheduledKey, 'key' | 'createdAt' | 'signsFrom'>,
): StoredKey {
  const pem = String(key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const sealed = sealing.seal(JSON.stringify({ pem, createdAt, signsFrom }), toContext(key.kid));
  return { kid: key.kid, sealed, createdAt, signsFrom };
}

/** @returns undefined where the row was not made by a holder of a sealing key for just this kid and these times. */
export function openKey(sealing: Sealing, row: StoredKey): OpenedKey | undefined {
  const opened = sealing.open(row.sealed, toContext(row.kid));
  if (!opened) return undefined;
  const content = parseContent(opened.plaintext);
  if (!content || content.createdAt !== row.createdAt || content.signsFrom !== row.signsFrom)
    return undefined;
  // The name is the thumbprint of the key itself: a right seal around another key is none.
  if (content.key.kid !== row.kid) return undefined;
  return { ...content, retiresAt: row.retiresAt, sealedBy: opened.sealedBy };
}

function toContext(kid: string): SealContext {
  return { purpose: PURPOSE, name: kid };
}

interface Content {
  readonly key: SigningKey;
  readonly createdAt: number;
  readonly signsFrom: number;
}

function parseContent(plaintext: string): Content | undefined {
  // No error may leave here: a parser's message quotes what it read, and that is a private key.
  try {
    const { pem, createdAt, signsFrom } = JSON.parse(plaintext) as Record<string, unknown>;
    if (typeof pem !== 'string' || !Number.isSafeInteger(createdAt)) return undefined;
    if (!Number.isSafeInteger(signsFrom)) return undefined;
    return {
      key: parseSigningKey(pem),
      createdAt: createdAt as number,
      signsFrom: signsFrom as number,
    };
  } catch {
    return undefined;
  }
}
