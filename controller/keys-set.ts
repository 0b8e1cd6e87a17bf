// What the API server publishes as the keys of its ServiceAccount tokens: read, and reduced to what a public key is.
import { KubeError } from '../common/kube/error.ts';

export const KEYS_PATH = '/openid/v1/jwks';
/** It answers 406 to who does not take its own type. */
export const KEYS_TYPE = 'application/jwk-set+json';

export type PublicJwk = Readonly<Record<string, string>>;

export interface KeySet {
  readonly keys: readonly PublicJwk[];
  /** The same for the same keys in whatever order. */
  readonly fingerprint: string;
}

// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2. No private member is among these, whatever somebody publishes.
const MEMBERS = ['kty', 'kid', 'use', 'alg', 'n', 'e', 'crv', 'x', 'y'] as const;

/** @throws KubeError where it is no set of keys, or an empty one: a cluster without keys has no tokens. */
export function parseKeySet(text: string): KeySet {
  const { keys } = parseObject(text) as { keys?: unknown };
  if (!Array.isArray(keys)) throw refuse('something that is no set of keys');
  const found = keys.map(toPublicJwk).sort((a, b) => compare(toText(a), toText(b)));
  if (found.length === 0) throw refuse('a set without any key');
  return { keys: found, fingerprint: found.map(toText).join('\n') };
}

function toPublicJwk(key: unknown): PublicJwk {
  const given = Object(key) as Record<string, unknown>;
  const jwk: Record<string, string> = {};
  for (const name of MEMBERS) {
    const value = given[name];
    if (typeof value === 'string') jwk[name] = value;
  }
  if (jwk.kty === undefined) throw refuse('a key without kty');
  return jwk;
}

function toText(jwk: PublicJwk): string {
  return JSON.stringify(jwk);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function parseObject(text: string): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    throw refuse('something that is not JSON');
  }
}

function refuse(what: string): KubeError {
  return new KubeError('unavailable', `answered ${what}`);
}
