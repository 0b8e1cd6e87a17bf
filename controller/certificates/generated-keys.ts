// The broker's first key, made where nobody brought one: what seals the signing keys in a store, or without a store the
// signing key itself. Made once; whatever stands there is never touched again.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { SecretText } from './kept.ts';

export const KEY_KINDS = ['none', 'encryption', 'signing'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

/** Under which key of the Secret. */
export const GENERATED_KEYS = {
  encryption: 'encryption-key',
  signing: 'signing-key.pem',
} as const;

/** @returns what is to be added; undefined where nothing is */
export function findMissingKey(data: SecretText, kind: KeyKind): SecretText | undefined {
  if (kind === 'none') return undefined;
  const name = GENERATED_KEYS[kind];
  if (data[name] !== undefined && data[name] !== '') return undefined;
  return { [name]: kind === 'encryption' ? makeEncryptionKey() : makeSigningKey() };
}

/** 32 bytes for AES-256-GCM, base64. */
function makeEncryptionKey(): string {
  return `${randomBytes(32).toString('base64')}\n`;
}

/** ES256. */
function makeSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}
