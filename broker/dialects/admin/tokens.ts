// `/api/v1/tokens`: what lives, static tokens, and the end of tokens: one, one's own, or all that fit.
import { z } from 'zod';
import type { TokensRevoked } from '../../../common/protocol/admin-api.ts';
import { BrokerError, REASONS } from '../../errors.ts';
import type { StoredToken } from '../../store/store.ts';
import { isAccessor } from '../../tokens/opaque.ts';
import { findRoleTag } from '../../tokens/token-id.ts';
import { isWithinReach, type Reach } from './authorization.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { findJwt, listJwts } from './jwts.ts';
import { type AdminAnswer, defineRoute } from './route.ts';
import {
  accessor,
  listOf,
  namespaceQuery,
  tokenQuery,
  tokensRevoke,
  tokensRevoked,
  tokenView,
} from './schemas.ts';
import { limitFilter, toFilter } from './token-filter.ts';
import { toTime, toTokenView } from './views.ts';

const PATH = '/api/v1/tokens';
const tokenId = z
  .string()
  .min(1)
  .max(256)
  .meta({ description: 'An accessor, or the `jti` of a JWT' });
const may = (verb: 'get' | 'list' | 'update' | 'delete') =>
  ({ resource: 'tokens', verb, namespaced: true }) as const;

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listTokens',
  summary: 'Live tokens that fit, newest first',
  description:
    'Stored tokens; with `kind=jwt` the JWTs, as the decisions that gave them out tell of them (a crash may have lost the last second of those). A page may be shorter than `limit` and still have a `next`.',
  needs: may('list'),
  audited: false,
  needsStore: true,
  query: tokenQuery,
  answers: { 200: { description: 'A page', schema: listOf(tokenView) } },
  run: async ({ query, reach }, deps) => {
    const { limit, after, kind, ...asked } = query;
    const page = { limit, ...(after !== undefined && { after }) };
    const filter = limitFilter(reach, toFilter(asked));
    if (kind === 'jwt') return { body: await listJwts(filter, page, deps) };
    const found = await getStore(deps).tokens.list({ ...filter, ...(kind && { kind }) }, page);
    const { items, next } = found;
    return { body: { items: items.map(toTokenView), ...(next !== undefined && { next }) } };
  },
});

const showOwn = defineRoute({
  method: 'GET',
  path: `${PATH}/self`,
  operation: 'getOwnToken',
  summary: "The caller's own token",
  needs: 'own',
  audited: false,
  needsStore: true,
  answers: { 200: { description: 'The token', schema: tokenView } },
  refusals: ['not_found'],
  run: async ({ caller }, deps) => ({
    body: toTokenView(await getOwn(caller.token?.accessor, deps)),
  }),
});

const endOwn = defineRoute({
  method: 'DELETE',
  path: `${PATH}/self`,
  operation: 'revokeOwnToken',
  summary: "Revokes the caller's own token",
  needs: 'own',
  audited: true,
  needsStore: true,
  answers: { 200: { description: 'It is refused from now on', schema: tokensRevoked } },
  run: async ({ caller }, deps) => {
    const { token } = caller;
    if (token?.accessor === undefined) return revokeJwt(token?.tokenId ?? '', { caller, deps });
    return endStored(await getOwn(token.accessor, deps), deps);
  },
});

const renewOwn = defineRoute({
  method: 'POST',
  path: `${PATH}/self/renew`,
  operation: 'renewOwnToken',
  summary: "Prolongs the caller's own token, decided anew by the roles of now",
  needs: 'own',
  audited: true,
  needsStore: true,
  answers: { 200: { description: 'The token as it is now', schema: tokenView } },
  refusals: ['conflict', 'not_found'],
  run: async ({ caller, correlationId }, deps) =>
    renew(await getOwn(caller.token?.accessor, deps), { deps, correlationId }),
});

const get = defineRoute({
  method: 'GET',
  path: `${PATH}/{accessor}`,
  operation: 'getToken',
  summary: 'One live token',
  needs: may('get'),
  audited: false,
  needsStore: true,
  params: z.strictObject({ accessor: tokenId }),
  query: namespaceQuery,
  answers: { 200: { description: 'The token', schema: tokenView } },
  refusals: ['not_found'],
  run: async ({ params, reach }, deps) => {
    if (!isAccessor(params.accessor)) return { body: await getJwt(params.accessor, reach, deps) };
    return { body: toTokenView(await getStored(params.accessor, reach, deps)) };
  },
});

const end = defineRoute({
  method: 'DELETE',
  path: `${PATH}/{accessor}`,
  operation: 'revokeToken',
  summary: 'Revokes one token',
  needs: may('delete'),
  audited: true,
  needsStore: true,
  params: z.strictObject({ accessor: tokenId }),
  query: namespaceQuery,
  answers: { 200: { description: 'It is refused from now on', schema: tokensRevoked } },
  refusals: ['not_found'],
  run: ({ params, reach, caller }, deps) => endById(params.accessor, { reach, caller, deps }),
});

const renewOne = defineRoute({
  method: 'POST',
  path: `${PATH}/{accessor}/renew`,
  operation: 'renewToken',
  summary: 'Prolongs an opaque client token, decided anew by the roles of now',
  needs: may('update'),
  audited: true,
  needsStore: true,
  params: z.strictObject({ accessor }),
  query: namespaceQuery,
  answers: { 200: { description: 'The token as it is now', schema: tokenView } },
  refusals: ['conflict', 'not_found'],
  run: async ({ params, reach, correlationId }, deps) =>
    renew(await getStored(params.accessor, reach, deps), { deps, correlationId }),
});

const endMany = defineRoute({
  method: 'POST',
  path: `${PATH}/revoke`,
  operation: 'revokeTokens',
  summary: 'Revokes every token that fits: of a pod, a role, a namespace, an audience, a subject',
  description:
    'Stored tokens end and are counted. JWTs, which nobody stored, are refused by a deny rule from now on: every one that fits and was issued before `deniedBefore`. A caller with a right for one namespace revokes what is of that namespace in the own cluster.',
  needs: may('delete'),
  audited: true,
  needsStore: true,
  query: namespaceQuery,
  body: tokensRevoke,
  answers: { 200: { description: 'What was done', schema: tokensRevoked } },
  refusals: ['not_found'],
  run: async ({ body, reach, caller, query }, deps) => {
    const { tokenId: id, kind, ...asked } = body;
    if (id !== undefined) {
      if (kind !== undefined || Object.keys(asked).length > 0)
        throw invalid('tokenId', 'must stand alone');
      return endById(id, { reach, caller, deps });
    }
    if (Object.keys(body).length === 0) throw invalid('', 'at least one field must be stated');
    if (kind === 'jwt')
      throw invalid('kind', 'must be client or static: JWTs are denied in any case');
    const inQuery = query.namespace === undefined ? {} : { namespace: query.namespace };
    if ((asked.namespace ?? query.namespace) !== (query.namespace ?? asked.namespace))
      throw invalid('namespace', 'must be that of the query');
    const filter = limitFilter(reach, toFilter({ ...asked, ...inQuery }));
    const { tokens: revoked, denial } = await deps.revoker.revokeWhere(
      { ...filter, ...(kind && { kind }) },
      caller.subject,
    );
    const deniedBefore = denial?.issuedBefore;
    const result: TokensRevoked & { note?: string } = {
      revoked,
      ...(deniedBefore !== undefined && {
        deniedBefore: toTime(deniedBefore),
        note: 'JWTs that fit are refused by a deny rule and are not counted',
      }),
    };
    return {
      body: result,
      facts: { ...filter, ...(kind && { kind }), ...result, note: undefined },
    };
  },
});

export const tokenRoutes = [list, showOwn, endOwn, renewOwn, endMany, get, end, renewOne];

interface Ending {
  readonly reach: Reach;
  readonly caller: { readonly subject: string };
  readonly deps: AdminDeps;
}

/** An accessor, or the `jti` of a JWT. What is out of reach is as little there as what does not exist. */
async function endById(id: string, { reach, caller, deps }: Ending): Promise<AdminAnswer> {
  if (isAccessor(id)) return endStored(await getStored(id, reach, deps), deps);
  // Neither form: a misspelt accessor must not look as if something had ended.
  if (findRoleTag(id) === undefined) throw new BrokerError('not_found');
  // Who reaches everywhere may also deny a JWT whose decision was lost.
  if (!reach.everywhere) await getJwt(id, reach, deps);
  return revokeJwt(id, { caller, deps });
}

async function endStored(token: StoredToken, deps: AdminDeps): Promise<AdminAnswer> {
  if (!(await getStore(deps).tokens.revoke(token.hash))) throw new BrokerError('not_found');
  return { body: { revoked: 1 }, facts: { token: token.accessor, tokenSubject: token.subject } };
}

async function revokeJwt(
  id: string,
  { caller, deps }: Omit<Ending, 'reach'>,
): Promise<AdminAnswer> {
  await deps.revoker.revokeByTokenId(id, caller.subject);
  return {
    body: { revoked: 0, note: 'the JWT of this id is refused by a deny rule' },
    facts: { token: id },
  };
}

async function renew(
  token: StoredToken,
  { deps, correlationId }: { deps: AdminDeps; correlationId: string },
): Promise<AdminAnswer> {
  const { decision } = await deps.renew(token, { correlationId, dialect: 'admin' });
  const { outcome, reason = 'internal' } = decision;
  if (outcome === 'failure') throw new BrokerError(reason, decision.detail);
  if (outcome === 'deny')
    throw new RequestRefused('conflict', [
      { path: '', problem: `it is not renewed: ${REASONS[reason].text}` },
    ]);
  const now = await getStore(deps).tokens.findByHash(token.hash);
  if (!now) throw new BrokerError('not_found');
  const body = toTokenView(now);
  return { body, facts: { token: now.accessor, expiresAt: body.expiresAt } };
}

async function getStored(id: string, reach: Reach, deps: AdminDeps): Promise<StoredToken> {
  const token = await getStore(deps).tokens.findByAccessor(id);
  const isAlive = token !== undefined && token.expiresAt * 1000 > deps.clock.now();
  if (token && isAlive && isWithinReach(reach, token)) return token;
  throw new BrokerError('not_found');
}

function getOwn(id: string | undefined, deps: AdminDeps): Promise<StoredToken> {
  // A JWT is nowhere but with its holder: there is nothing to show or prolong.
  if (id === undefined) throw new BrokerError('not_found');
  return getStored(id, { everywhere: true }, deps);
}

async function getJwt(id: string, reach: Reach, deps: AdminDeps) {
  const found = await findJwt(id, limitFilter(reach, {}), deps);
  if (!found) throw new BrokerError('not_found');
  return found;
}

function getStore({ store }: AdminDeps): NonNullable<AdminDeps['store']> {
  if (!store) throw new BrokerError('store_missing');
  return store;
}

function invalid(path: string, problem: string): RequestRefused {
  return new RequestRefused('document_invalid', [{ path, problem }]);
}
