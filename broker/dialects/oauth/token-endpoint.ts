// POST /oauth2/token: reads the form, finds the grant, and turns what the desk settled into bytes (RFC 6749 §5).
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  HEADER_CA_DIGEST,
  TOKEN_TYPE_ACCESS,
  type TokenResponse,
} from '../../../common/protocol/oauth.ts';
import type { CaBundle } from '../../ca-bundle.ts';
import type { CheckClient } from '../../callers.ts';
import type { Desk, RequestContext, Settled } from '../../desk.ts';
import { BrokerError } from '../../errors.ts';
import type { IssuedToken } from '../../issuing.ts';
import { renderError } from './errors.ts';
import { readForm } from './form.ts';
import { GRANTS } from './grant.ts';
import { checkRepeated, getSingle } from './parameters.ts';

export interface TokenEndpointDeps {
  readonly desk: Desk;
  readonly checkClient: CheckClient;
  /** What the pods should trust from now on, where the operator gave a bundle. */
  readonly findCaBundle: () => CaBundle | undefined;
}

export type TokenEndpoint = (
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
) => Promise<void>;

export function createTokenEndpoint({
  desk,
  checkClient,
  findCaBundle,
}: TokenEndpointDeps): TokenEndpoint {
  return async (request, response, context) => {
    const settled = await settle(request, { desk, checkClient, context });
    // A client that went away in the middle of its request hears nothing; its record is written all the same.
    if (response.destroyed) return;
    if (!settled.issued) return sendRefusal(request, response, settled);
    const digest = request.headers[HEADER_CA_DIGEST.toLowerCase()];
    const body = JSON.stringify(toResponse(settled.issued, findNextBundle(digest, findCaBundle())));
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      Pragma: 'no-cache',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  };
}

interface Contexted {
  readonly context: RequestContext;
}

async function settle(
  request: IncomingMessage,
  { desk, checkClient, context }: Pick<TokenEndpointDeps, 'desk' | 'checkClient'> & Contexted,
): Promise<Settled> {
  try {
    const form = await readForm(request);
    checkRepeated(form);
    await checkClient({ authorization: request.headers.authorization, form });
    const wanted = getSingle(form, 'grant_type');
    const grant = GRANTS.find(({ grantType }) => grantType === wanted);
    if (!grant) throw new BrokerError('grant_unsupported');
    return await grant.handle(form, { desk, context });
  } catch (error) {
    return desk.refuse(
      request.errored
        ? new BrokerError('body_invalid', 'the connection broke', { cause: error })
        : error,
      context,
    );
  }
}

/** Also of the other endpoints whose refusals are decisions. */
export function sendRefusal(
  request: IncomingMessage,
  response: ServerResponse,
  { decision }: Settled,
): void {
  const { status, headers, body } = renderError({
    reason: decision.reason ?? 'internal',
    correlationId: decision.id,
    // A failure of ours is not about the caller: the fixed sentence is all.
    subject: decision.outcome === 'deny' ? decision.subject : undefined,
    usedAuthorization:
      decision.reason === 'client_unauthenticated' && request.headers.authorization !== undefined,
    ...(decision.error instanceof BrokerError && {
      retryAfterSeconds: decision.error.retryAfterSeconds,
    }),
  });
  // A body that was not read to its end would be taken for the next request.
  response.writeHead(status, {
    ...headers,
    'Content-Length': Buffer.byteLength(body),
    ...(!request.complete && { Connection: 'close' }),
  });
  response.end(body);
}

function toResponse({ token, grant }: IssuedToken, caBundle: string | undefined): TokenResponse {
  return {
    access_token: token,
    issued_token_type: TOKEN_TYPE_ACCESS,
    token_type: 'Bearer',
    expires_in: grant.expiry.expiresAt - grant.issuedAt,
    scope: grant.scopes.join(' '),
    expiry_cap: grant.expiry.cap,
    ...(caBundle !== undefined && { ca_bundle: caBundle }),
  };
}

function findNextBundle(
  digest: string | string[] | undefined,
  bundle: CaBundle | undefined,
): string | undefined {
  if (!bundle || typeof digest !== 'string') return undefined;
  return digest.toLowerCase() === bundle.digest ? undefined : bundle.pem;
}
