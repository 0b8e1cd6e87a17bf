// `POST /api/v1/tokens`: a static token, shown once, within what its maker has itself and what the operator allows.
import type { Problem } from '../../../common/documents.ts';
import { isReservedAudience } from '../../../common/protocol/audiences.ts';
import { BrokerError } from '../../errors.ts';
import { BUILT_IN_POLICIES, isBrokerPolicy } from '../../policies.ts';
import type { StaticTokenRequest } from '../../static-tokens.ts';
import { StoreError } from '../../store/store.ts';
import { BOOTSTRAP_NAME, findBeyond, mayReachReceivers } from '../../within.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { defineRoute } from './route.ts';
import { tokenCreate, tokenCreated } from './schemas.ts';
import { toTokenView } from './views.ts';

const create = defineRoute({
  method: 'POST',
  path: '/api/v1/tokens',
  operation: 'createToken',
  summary: 'Makes a static token; the answer is the only time it is shown',
  description:
    'Policies, audience, scopes and ttl must lie within the own of the caller, and the ttl within the ceiling of the operator (`maxStaticTokenTtlSeconds`). An audience needs the right to create roles too, unless the token of the caller is for that very audience. Static tokens are of no namespace: the right must be for all of them.',
  needs: { resource: 'tokens', verb: 'create' },
  audited: true,
  needsStore: true,
  body: tokenCreate,
  answers: { 201: { description: 'Made', schema: tokenCreated } },
  refusals: ['beyond_own', 'conflict'],
  run: async ({ body, caller }, deps) => {
    if (!deps.staticTokens) throw new BrokerError('store_missing');
    const { ttl, audience, description, ...rest } = body;
    const request: StaticTokenRequest = {
      ...rest,
      ttlSeconds: ttl,
      ...(audience !== undefined && { audience }),
      ...(description !== undefined && { description }),
    };
    const wrong = findProblems(request, deps);
    if (wrong.length > 0) throw new RequestRefused('document_invalid', wrong);
    const paths = { policies: 'policies', audience: 'audience', scopes: 'scopes', ttl: 'ttl' };
    const beyond = [
      ...(ttl > deps.maxStaticTokenTtlSeconds
        ? [{ path: 'ttl', problem: `must be at most ${deps.maxStaticTokenTtlSeconds} s here` }]
        : []),
      ...(audience !== undefined && !(await mayReachReceivers(caller, deps.capabilities))
        ? [{ path: 'audience', problem: 'needs the right to create roles, too' }]
        : []),
      ...(await findBeyond(caller, { wanted: request, paths }, deps)),
    ];
    if (beyond.length > 0) throw new RequestRefused('beyond_own', beyond);
    const { token, stored } = await deps.staticTokens
      .create(request, caller.subject)
      .catch((error: unknown) => {
        throw toNameTaken(error);
      });
    const { accessor, name, policies, expiresAt } = stored;
    return {
      status: 201,
      body: { ...toTokenView(stored), token: token.reveal() },
      facts: { name, token: accessor, policies, audience, expiresAt },
    };
  },
});

export const staticTokenRoutes = [create];

function findProblems(
  { name, policies, audience }: StaticTokenRequest,
  deps: AdminDeps,
): Problem[] {
  const problems: Problem[] = [];
  if (name.toLowerCase() === BOOTSTRAP_NAME)
    problems.push({ path: 'name', problem: 'is that of the bootstrap token' });
  for (const [index, policy] of policies.entries()) {
    if (isBrokerPolicy(policy) && !BUILT_IN_POLICIES.includes(policy))
      problems.push({
        path: `policies[${index}]`,
        problem: `is none of the broker's: ${BUILT_IN_POLICIES.join(', ')}`,
      });
  }
  if (audience !== undefined && isReservedAudience(audience, deps.reservedAudiences))
    problems.push({
      path: 'audience',
      problem: 'is reserved: a token for it is a credential elsewhere',
    });
  return problems;
}

function toNameTaken(error: unknown): unknown {
  return error instanceof StoreError && error.kind === 'conflict'
    ? new RequestRefused('conflict', [{ path: 'name', problem: 'is that of a live static token' }])
    : error;
}
