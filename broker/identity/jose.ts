// A compact JWS taken apart strictly (RFC 7515 §5.2), before anything in it is believed: three segments of canonical
// base64url, a header with nothing that could choose a key or an algorithm for us, a JSON object as payload.
import { isUtf8 } from 'node:buffer';
import { BrokerError } from '../errors.ts';
import { MAX_KID_LENGTH, SIGNING_ALGORITHMS, type SigningAlgorithm } from './keys.ts';

export const MAX_TOKEN_BYTES = 16 * 1024;
/** Kubernetes nests claims three deep. */
export const MAX_DEPTH = 16;

export interface ParsedToken {
  readonly alg: SigningAlgorithm;
  readonly kid: string | undefined;
  /** Unverified until the signature is. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** For {@link checkUniqueMembers}, once the signature is known to be good. */
  readonly payloadText: string;
  /** RFC 7515 §5.1: what was signed. */
  readonly input: string;
  readonly signature: Buffer;
}

// Header parameters that bring a key, change what is signed, or make it another thing than a signed JWT.
const REFUSED_PARAMETERS = [
  'crit',
  'jku',
  'jwk',
  'x5u',
  'x5c',
  'b64',
  'zip',
  'enc',
  'cty',
  'epk',
  'apu',
  'apv',
  'iv',
  'tag',
  'p2s',
  'p2c',
];
const ALGORITHMS: ReadonlySet<string> = new Set(SIGNING_ALGORITHMS);

/**
 * Takes a token apart.
 * @throws BrokerError `token_malformed`; its detail says what is wrong and quotes nothing.
 */
export function parseToken(token: string): ParsedToken {
  if (token.length > MAX_TOKEN_BYTES) throw malformed(`longer than ${MAX_TOKEN_BYTES} bytes`);
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first < 1 || second < 0 || token.includes('.', second + 1))
    throw malformed('not exactly three segments');
  const headerText = decodeText(token.slice(0, first), 'header');
  const { alg, kid } = parseHeader(headerText);
  const payloadText = decodeText(token.slice(first + 1, second), 'payload');
  return {
    alg,
    kid,
    payload: parseObject(payloadText, 'payload'),
    payloadText,
    input: token.slice(0, second),
    signature: decode(token.slice(second + 1), 'signature'),
  };
}

function parseHeader(text: string): Pick<ParsedToken, 'alg' | 'kid'> {
  const header = parseObject(text, 'header');
  checkUniqueMembers(text, header, 'header');
  const { alg, kid, typ } = header;
  const refused = REFUSED_PARAMETERS.find((name) => Object.hasOwn(header, name));
  if (refused) throw malformed(`the header has the parameter ${refused}`);
  if (typeof alg !== 'string' || !ALGORITHMS.has(alg))
    throw malformed('the algorithm is not an allowed signature');
  if (typ !== undefined && typ !== 'JWT') throw malformed('the header has a typ other than JWT');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH)) {
    throw malformed(`the kid is not a text of 1 to ${MAX_KID_LENGTH} characters`);
  }
  return { alg: alg as SigningAlgorithm, kid };
}

/**
 * Refuses an object that is nested too deep, or with a member named twice, at any depth (RFC 7519 §4): readers differ in which one counts.
 * @param text what `value` was parsed from
 * @throws BrokerError `token_malformed`
 */
export function checkUniqueMembers(text: string, value: unknown, part: string): void {
  if (countMembers(text) !== countKeys(value, part))
    throw malformed(`the ${part} names a member twice`);
}

/** Names before a colon in valid JSON: outside of texts a colon stands nowhere else. */
function countMembers(json: string): number {
  let count = 0;
  for (let at = json.indexOf('"'); at >= 0; at = json.indexOf('"', at + 1)) {
    at = findEndOfText(json, at);
    let next = at + 1;
    while (' \t\n\r'.includes(json.charAt(next)) && next < json.length) next += 1;
    if (json.charAt(next) === ':') count += 1;
  }
  return count;
}

function findEndOfText(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (json.charAt(end - 1 - backslashes) === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return json.length;
}

/** Level by level, and not below {@link MAX_DEPTH}: whoever walks claims by calling itself must come to an end. */
function countKeys(value: unknown, part: string): number {
  let count = 0;
  let level = [value].filter(isNested);
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw malformed(`the ${part} is nested more than ${MAX_DEPTH} deep`);
    const next: object[] = [];
    for (const one of level) {
      const members: readonly unknown[] = Object.values(one);
      if (!Array.isArray(one)) count += members.length;
      for (const member of members) if (isNested(member)) next.push(member);
    }
    level = next;
  }
  return count;
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function parseObject(text: string, part: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed(`the ${part} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`the ${part} is not a JSON object`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function decodeText(segment: string, part: string): string {
  const bytes = decode(segment, part);
  if (!isUtf8(bytes)) throw malformed(`the ${part} is not UTF-8`);
  return bytes.toString('utf8');
}

/** Node's decoder skips what it does not know and takes both alphabets; encoding again shows whether it had to. */
function decode(segment: string, part: string): Buffer {
  const bytes = Buffer.from(segment, 'base64url');
  if (segment === '' || bytes.toString('base64url') !== segment)
    throw malformed(`the ${part} is not base64url`);
  return bytes;
}

function malformed(detail: string): BrokerError {
  return new BrokerError('token_malformed', detail);
}
