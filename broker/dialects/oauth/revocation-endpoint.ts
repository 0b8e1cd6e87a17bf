// POST /oauth2/revoke (RFC 7009): whoever has a token may end it, nothing else is asked. What is no live token of ours
// is answered like what was one (§2.2): the caller wanted it gone, and it is.
import type { IncomingMessage } from 'node:http';
import { tokenFingerprint } from '../../../common/secret.ts';
import { type Authenticate, hasClientCredentials } from '../../callers.ts';
import type { Desk, RequestContext } from '../../desk.ts';
import type { Revoker } from '../../tokens/revoke.ts';
import { readForm } from './form.ts';
import { checkHint, type Endpoint } from './introspection-endpoint.ts';
import { checkRepeated, getSingle } from './parameters.ts';
import { sendRefusal } from './token-endpoint.ts';

export interface RevocationDeps {
  readonly authenticate: Authenticate;
  readonly revoker: Pick<Revoker, 'revokeShown'>;
  readonly desk: Pick<Desk, 'recordRevoked' | 'refuse'>;
}

export function createRevocationEndpoint(deps: RevocationDeps): Endpoint {
  return async (request, response, given) => {
    const context: RequestContext = { ...given, action: 'revoke' };
    try {
      await revoke(request, deps, context);
    } catch (error) {
      const settled = deps.desk.refuse(error, context);
      if (!response.destroyed) sendRefusal(request, response, settled);
      return;
    }
    if (response.destroyed) return;
    response.writeHead(200, {
      'Cache-Control': 'no-store',
      Pragma: 'no-cache',
      'Content-Length': 0,
    });
    response.end();
  };
}

async function revoke(
  request: IncomingMessage,
  { authenticate, revoker, desk }: RevocationDeps,
  context: RequestContext,
): Promise<void> {
  const form = await readForm(request);
  checkRepeated(form);
  // Credentials are not needed; such as come must be good, like everywhere (RFC 7009 §2.1).
  const credentials = { authorization: request.headers.authorization, form };
  if (hasClientCredentials(credentials)) await authenticate(credentials);
  const token = getSingle(form, 'token');
  checkHint(form);
  const revoked = await revoker.revokeShown(token);
  // A look-up for nothing: whoever guesses pays like whoever is refused.
  if (!revoked) context.visit?.charge();
  else desk.recordRevoked({ ...revoked, fingerprint: tokenFingerprint(token) }, context);
}
