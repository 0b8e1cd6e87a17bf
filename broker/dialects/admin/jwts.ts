// JWTs that live, as the decisions that gave them out tell of them: nobody stores a JWT.
import type { ListOf, TokenView } from '../../../common/protocol/admin-api.ts';
import type { DecisionFilter, Page, StoredDecision, TokenFilter } from '../../store/store.ts';
import { isAccessor } from '../../tokens/opaque.ts';
import { findRoleTag } from '../../tokens/token-id.ts';
import type { AdminDeps } from './deps.ts';
import { toJwtView } from './views.ts';

/** One page; what ended or was denied since is left out of it. */
export async function listJwts(
  filter: TokenFilter,
  page: Page,
  deps: AdminDeps,
): Promise<ListOf<TokenView>> {
  const { items = [], next } =
    (await deps.store?.decisions.list(toDecisionFilter(filter, deps), page)) ?? {};
  const alive = items.filter((one) => isAlive(one, deps)).map(toJwtView);
  const { subject } = filter;
  return {
    items: subject === undefined ? alive : alive.filter((view) => view.subject === subject),
    ...(next !== undefined && { next }),
  };
}

export async function findJwt(
  tokenId: string,
  filter: TokenFilter,
  deps: AdminDeps,
): Promise<TokenView | undefined> {
  const asked = { ...toDecisionFilter(filter, deps), tokenId };
  const found = await deps.store?.decisions.list(asked, { limit: 1 });
  const [decision] = found?.items ?? [];
  return decision && isAlive(decision, deps) ? toJwtView(decision) : undefined;
}

function toDecisionFilter(
  { cluster, namespace, serviceAccount, podName, podUid, role, audience }: TokenFilter,
  { clock, maxTokenTtlSeconds }: AdminDeps,
): DecisionFilter {
  const stated = { cluster, namespace, serviceAccount, pod: podName, podUid, role, audience };
  return {
    ...Object.fromEntries(Object.entries(stated).filter(([, value]) => value !== undefined)),
    outcome: 'allow',
    // No JWT lives longer.
    since: clock.now() - maxTokenTtlSeconds * 1000,
  };
}

function isAlive(decision: StoredDecision, { clock, mirror }: AdminDeps): boolean {
  const { tokenId, tokenExpiresAt = 0, at } = decision;
  if (tokenId === undefined || isAccessor(tokenId) || tokenExpiresAt * 1000 <= clock.now())
    return false;
  const { subject } = Object(decision.record) as { subject?: unknown };
  const roleTag = findRoleTag(tokenId);
  const owner = {
    subject: typeof subject === 'string' ? subject : '',
    cluster: decision.cluster,
    namespace: decision.namespace,
    serviceAccount: decision.serviceAccount,
    podName: decision.pod,
    podUid: decision.podUid,
    audience: decision.audience,
    roleTag,
  };
  const stated = Object.entries(owner).filter(([, value]) => value !== undefined);
  const token = {
    ...(Object.fromEntries(stated) as { subject: string }),
    tokenId,
    issuedAt: Math.floor(at / 1000),
  };
  return mirror?.findDenial(token) === undefined;
}
