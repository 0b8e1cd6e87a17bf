// Where a cluster's key set is fetched: a URL, the API server, discovery, a file. One function each; when to fetch, and
// what to do without an answer, is jwks.ts's.
import { readFile } from 'node:fs/promises';
import { isAllowedAddress } from './address.ts';
import type { ClusterWithKeySource, FetchedKeys, KeysFrom } from './clusters.ts';
import { type GetOptions, get, StatusError } from './fetch.ts';

/** The API server refused the broker's own credential: the operator's problem, never the caller's. */
export class CredentialRefused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the API server answered ${status} to the broker's own credential`);
    this.name = 'CredentialRefused';
    this.status = status;
  }
}

export interface SourceOptions {
  timeoutMs?: number;
}

/** Fetches a key set's text. Every file (CA, token) is read anew, so that what was rotated is used at once. */
export type LoadKeys = () => Promise<string>;

/** The function that fetches the key set of `cluster`, whose keys are not pushed. */
export function toLoadKeys(
  cluster: Pick<ClusterWithKeySource, 'issuers'> & { readonly keys: FetchedKeys },
  options: SourceOptions = {},
): LoadKeys {
  const { keys } = cluster;
  switch (keys.from) {
    case 'url':
      return async () => get(keys.url, { ...options, ...(await findTrust(keys)) });
    case 'apiServer':
      return () => getFromApiServer(keys, options);
    case 'discovery':
      return () => getByDiscovery(keys, cluster.issuers, options);
    case 'file':
      return () => readFile(keys.file, 'utf8');
  }
}

async function getFromApiServer(
  keys: Extract<KeysFrom, { from: 'apiServer' }>,
  options: SourceOptions,
): Promise<string> {
  const [ca, token] = await Promise.all([readCa(keys.caFile), readFile(keys.tokenFile, 'utf8')]);
  try {
    return await get(`${withoutSlash(keys.url)}/openid/v1/jwks`, {
      ...options,
      ...ca,
      bearer: token.trim(),
    });
  } catch (error) {
    if (error instanceof StatusError && (error.status === 401 || error.status === 403)) {
      throw new CredentialRefused(error.status);
    }
    throw error;
  }
}

async function getByDiscovery(
  keys: Extract<KeysFrom, { from: 'discovery' }>,
  issuers: readonly string[],
  options: SourceOptions,
): Promise<string> {
  const ca = await findTrust(keys);
  const found = await get(`${withoutSlash(keys.url)}/.well-known/openid-configuration`, {
    ...options,
    ...ca,
  });
  const { issuer, jwks_uri: jwksUri } = parseDiscovery(found);
  // OpenID Connect Discovery §4.3: a document that speaks for someone else is not this issuer's.
  if (!issuers.includes(issuer)) throw new Error('the discovery document names another issuer');
  if (keys.jwksUri !== undefined) return get(keys.jwksUri, { ...options, ...ca });
  if (!isAllowedAddress(jwksUri, { base: keys.url, hosts: keys.jwksHosts ?? [] })) {
    throw new Error(
      'the discovery document names a jwks_uri that is not https on its own host, nor on one of jwksHosts',
    );
  }
  return get(jwksUri, { ...options, ...ca });
}

function parseDiscovery(text: string): { issuer: string; jwks_uri: string } {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error('the discovery document is not JSON');
  }
  const { issuer, jwks_uri: jwksUri } = Object(document) as Record<string, unknown>;
  if (typeof issuer !== 'string' || typeof jwksUri !== 'string') {
    throw new Error('the discovery document lacks issuer or jwks_uri');
  }
  return { issuer, jwks_uri: jwksUri };
}

/** The roots that are believed, and which addresses may be asked. */
async function findTrust({
  caFile,
  ca,
  publicOnly = false,
}: Pick<Extract<KeysFrom, { from: 'url' }>, 'caFile' | 'ca' | 'publicOnly'>): Promise<
  Pick<GetOptions, 'ca' | 'publicOnly'>
> {
  return { ...(ca === undefined ? await readCa(caFile) : { ca }), publicOnly };
}

async function readCa(file: string | undefined): Promise<{ ca?: string }> {
  return file === undefined ? {} : { ca: await readFile(file, 'utf8') };
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
