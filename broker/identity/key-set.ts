// A key set that somebody hands in (the first one of a registration, a push): every member of it must be good, unlike in
// a set that is fetched, where what cannot be used is passed over. Written down again it has public members alone.
import type { Problem } from '../../common/documents.ts';
import {
  parseKey,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
  type VerificationKey,
} from './keys.ts';

/** An API server has two or three; each is one more that can sign for the cluster. */
export const MAX_PUSHED_KEYS = 16;

export type ParsedKeySet =
  | {
      readonly ok: true;
      readonly keys: readonly VerificationKey[];
      /** The set as JSON: public members, `kid` and `alg`, in an order of its own. Equal sets have equal texts. */
      readonly jwks: string;
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

interface Member {
  readonly key: VerificationKey;
  readonly text: string;
}

/**
 * Checks a JWK Set (RFC 7517): 1 to {@link MAX_PUSHED_KEYS} public keys, each for an algorithm of the entry, no `kid` of
 * two different keys. Problems quote nothing of it.
 */
export function parseKeySet(value: unknown, algorithms: readonly SigningAlgorithm[]): ParsedKeySet {
  const { keys: list } = Object(value) as { keys?: unknown };
  if (!Array.isArray(list)) return refuse('keys', 'must be a list of keys (RFC 7517)');
  if (list.length === 0) return refuse('keys', 'must not be empty');
  if (list.length > MAX_PUSHED_KEYS)
    return refuse('keys', `must have at most ${MAX_PUSHED_KEYS} keys`);
  const problems: Problem[] = [];
  const members = new Map<string, Member>();
  list.forEach((jwk: unknown, index) => {
    const path = `keys[${index}]`;
    const key = parseKey(jwk);
    if (typeof key === 'string') problems.push({ path, problem: key });
    else if (!key.algorithms.some((one) => algorithms.includes(one)))
      problems.push({ path, problem: 'is for no algorithm of the entry' });
    else if (isTaken(key, members))
      problems.push({ path: `${path}.kid`, problem: 'is the kid of another key before it' });
    else {
      const text = toText(key, jwk as { alg?: unknown });
      members.set(text, { key, text });
    }
  });
  if (problems.length > 0) return { ok: false, problems };
  const sorted = [...members.values()].sort((a, b) => (a.text < b.text ? -1 : 1));
  return {
    ok: true,
    keys: sorted.map(({ key }) => key),
    jwks: `{"keys":[${sorted.map(({ text }) => text).join(',')}]}`,
  };
}

/** The keys of a set that {@link parseKeySet} wrote; which algorithms may be used is asked with each token. */
export function readKeySet(jwks: string): readonly VerificationKey[] {
  const parsed = parseKeySet(JSON.parse(jwks), SIGNING_ALGORITHMS);
  return parsed.ok ? parsed.keys : [];
}

function refuse(path: string, problem: string): ParsedKeySet {
  return { ok: false, problems: [{ path, problem }] };
}

function isTaken(
  { kid, thumbprint }: VerificationKey,
  members: ReadonlyMap<string, Member>,
): boolean {
  const others = [...members.values()].map(({ key }) => key);
  return (
    kid !== undefined && others.some((one) => one.kid === kid && one.thumbprint !== thumbprint)
  );
}

function toText({ key, kid }: VerificationKey, { alg }: { alg?: unknown }): string {
  const { kty, crv, n, e, x, y } = key.export({ format: 'jwk' });
  return JSON.stringify({ alg, crv, e, kid, kty, n, use: 'sig', x, y });
}
