// A cluster's issuer as the broker sees it: a real HTTP server with discovery, a public JWKS, and the API server's
// `/openid/v1/jwks` behind a bearer token. Keys rotate, the server breaks, and every request is counted.
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type Algorithm,
  type Claims,
  createSigningKey,
  type MintOptions,
  mint,
  type ServiceAccountToken,
  type SigningKey,
  serviceAccountClaims,
} from './minting.ts';
import { noteToken } from './tokens.ts';

export * from './minting.ts';

export const JWKS_PATH = '/keys';
export const API_SERVER_JWKS_PATH = '/openid/v1/jwks';
export const DISCOVERY_PATH = '/.well-known/openid-configuration';

/** What the server does with the next requests: serve, or answer something else on every path. */
export type IssuerMode =
  | 'up'
  | 'hang'
  | { status: number; body?: string; headers?: Readonly<Record<string, string>> };

export interface FakeIssuer {
  /** Its `iss`, and the address of the server. */
  readonly issuer: string;
  readonly jwksUrl: string;
  /** What `/openid/v1/jwks` wants to see as a bearer token. */
  readonly bearer: string;
  /** The key it signs with. */
  readonly key: SigningKey;
  /** Paths asked for, in order. */
  readonly requests: string[];
  /** Signs with a new key from now on; the old one stays published unless `forget`. */
  rotate(options?: { forget?: boolean; alg?: Algorithm }): SigningKey;
  /** Publishes exactly these members. */
  publish(jwks: readonly unknown[]): void;
  setMode(mode: IssuerMode): void;
  /** Changes the bearer token that is accepted. */
  setBearer(bearer: string): void;
  /** A pod's token of this issuer; `mint` replaces parts of it, `claims` is merged over the usual ones. */
  token(
    options?: Partial<ServiceAccountToken> & { claims?: Claims; mint?: Partial<MintOptions> },
  ): string;
  /** The document of {@link DISCOVERY_PATH}. */
  discovery: Record<string, unknown>;
  close(): Promise<void>;
}

/** Starts on a free port of loopback. `issuer` sets another `iss` than the server's address. */
export async function startIssuer(
  options: { alg?: Algorithm; issuer?: string } = {},
): Promise<FakeIssuer> {
  let key = createSigningKey(options.alg ?? 'ES256');
  let published: readonly unknown[] = [key.jwk];
  let mode: IssuerMode = 'up';
  let bearer = noteToken(`test-bearer-${randomBytes(16).toString('hex')}`);
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    if (mode === 'hang') return;
    if (mode !== 'up') {
      response.writeHead(mode.status, mode.headers).end(mode.body ?? '');
      return;
    }
    serve(request, response);
  });
  function serve(request: IncomingMessage, response: ServerResponse): void {
    const isApiServer = request.url === API_SERVER_JWKS_PATH;
    if (isApiServer && request.headers.authorization !== `Bearer ${bearer}`)
      response.writeHead(401).end();
    // As kube-apiserver 1.34 does for who takes JSON only.
    else if (isApiServer && !takesKeySet(request.headers.accept)) response.writeHead(406).end();
    else if (isApiServer || request.url === JWKS_PATH)
      response.end(JSON.stringify({ keys: published }));
    else if (request.url === DISCOVERY_PATH) response.end(JSON.stringify(fake.discovery));
    else response.writeHead(404).end();
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer = options.issuer ?? url;
  const fake: FakeIssuer = {
    issuer,
    jwksUrl: `${url}${JWKS_PATH}`,
    requests,
    discovery: { issuer, jwks_uri: `${url}${JWKS_PATH}` },
    get key() {
      return key;
    },
    get bearer() {
      return bearer;
    },
    rotate: ({ forget = false, alg = key.alg } = {}) => {
      key = createSigningKey(alg);
      published = forget ? [key.jwk] : [...published, key.jwk];
      return key;
    },
    publish: (jwks) => {
      published = jwks;
    },
    setMode: (next) => {
      mode = next;
    },
    setBearer: (next) => {
      bearer = next;
    },
    token: ({ claims = {}, mint: parts = {}, ...workload } = {}) =>
      mint({
        key,
        claims: { ...serviceAccountClaims({ issuer, ...workload }), ...claims },
        ...parts,
      }),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return fake;
}

function takesKeySet(accept = '*/*'): boolean {
  const types = accept.split(',').map((type) => type.split(';')[0]?.trim());
  return types.includes('application/jwk-set+json') || types.includes('*/*');
}
