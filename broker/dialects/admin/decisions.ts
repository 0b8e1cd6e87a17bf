// `/api/v1/decisions`: what was decided, by the same records as the audit, and what would be decided now.

import { Secret } from '../../../common/secret.ts';
import type { Decision, GrantRequest } from '../../authorize.ts';
import { type DecisionRecord, sealRecord, toDecisionRecord } from '../../decision-record.ts';
import { BrokerError } from '../../errors.ts';
import type { DecisionFilter } from '../../store/store.ts';
import { isWithinReach } from './authorization.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { findCluster, type Supposed, toHypothetical } from './hypothetical.ts';
import { type Call, defineRoute } from './route.ts';
import {
  decisionQuery,
  decisionView,
  explained,
  explainQuery,
  explainRequest,
  listOf,
  namespaceQuery,
  podExplained,
} from './schemas.ts';
import { limitFilter } from './token-filter.ts';
import { toDefined } from './views.ts';

const PATH = '/api/v1/decisions';
const MAX_PAST = 20;

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listDecisions',
  summary: 'Decisions that fit, newest first',
  description:
    'Written behind: a crash may have lost the last second of them. The audit log is the record.',
  needs: { resource: 'decisions', verb: 'list', namespaced: true },
  audited: false,
  needsStore: true,
  query: decisionQuery,
  answers: { 200: { description: 'A page', schema: listOf(decisionView) } },
  run: async ({ query, reach }, deps) => {
    const { limit, after, since, ...asked } = query;
    const filter = limitFilter(reach, {
      ...toDefined(asked),
      ...(since !== undefined && { since: Date.parse(since) }),
    } as DecisionFilter);
    const page = { limit, ...(after !== undefined && { after }) };
    const { items, next } = await getDecisions(deps).list(filter, page);
    const body = { items: items.map(({ record }) => record), ...(next !== undefined && { next }) };
    return { body };
  },
});

const explainPod = defineRoute({
  method: 'GET',
  path: `${PATH}/explain`,
  operation: 'explainPod',
  summary: 'What was decided about a pod lately, and what would be decided about the same now',
  needs: { resource: 'decisions', verb: 'list', namespaced: true },
  audited: false,
  needsStore: true,
  query: explainQuery,
  answers: { 200: { description: 'Newest first', schema: podExplained } },
  run: async ({ query, reach, correlationId }, deps) => {
    const filter = limitFilter(reach, toDefined(query) as DecisionFilter);
    const { items } = await getDecisions(deps).list(filter, { limit: MAX_PAST });
    const past = items.map(({ record }) => record as DecisionRecord);
    const now: DecisionRecord[] = [];
    for (const supposed of toDistinct(past)) {
      const decision = await decideSupposed(supposed, { deps, correlationId });
      if (decision) now.push(toShown(decision));
    }
    return { body: { past, now } };
  },
});

const explain = defineRoute({
  method: 'POST',
  path: `${PATH}/explain`,
  operation: 'explain',
  summary: 'What would be decided about a token, or about a subject that is described',
  description:
    'Runs every check of an exchange and issues nothing. The token is validated as at an exchange and never logged. A described subject proved nothing: the answer says so, and no API server is asked about it.',
  needs: { resource: 'decisions', verb: 'list', namespaced: true },
  audited: true,
  needsStore: false,
  query: namespaceQuery,
  body: explainRequest,
  answers: { 200: { description: 'The decision, rule by rule', schema: explained } },
  run: async (call, deps) => {
    const { token } = call.body;
    const decision =
      token === undefined
        ? await explainSupposed(call, deps)
        : await explainToken(new Secret(token), call, deps);
    const hypothetical = token === undefined;
    const record = toShown(decision);
    const { subject, subjectFingerprint, audience, outcome } = record;
    return {
      body: { hypothetical, decision: record },
      facts: {
        hypothetical,
        decided: outcome,
        ...(hypothetical ? {} : { subjectFingerprint }),
        about: subject,
        audience,
      },
    };
  },
});

export const decisionRoutes = [list, explainPod, explain];

interface ExplainBody {
  readonly cluster?: string | undefined;
  readonly namespace?: string | undefined;
  readonly serviceAccount?: string | undefined;
  readonly pod?: string | undefined;
  readonly audience?: string | undefined;
  readonly role?: string | undefined;
  readonly scopes?: readonly string[] | undefined;
}
type Explain = Call<object, object, ExplainBody & { readonly token?: string | undefined }>;

async function explainToken(token: Secret, call: Explain, deps: AdminDeps): Promise<Decision> {
  const { body, reach, correlationId } = call;
  for (const field of ['cluster', 'namespace', 'serviceAccount', 'pod'] as const) {
    if (body[field] !== undefined)
      throw invalid(field, 'does not go with token: the token says whose it is');
  }
  const request = { ...toRequest(body), subject: { token } };
  const decision = await deps.authorize(request, { correlationId, dialect: 'admin' });
  const identity = decision.subject?.identity;
  // Whoever has a right for one namespace learns nothing of tokens that are not proven to be of it.
  const isReached = identity?.kind === 'workload' && isWithinReach(reach, identity);
  if (!reach.everywhere && !isReached)
    throw new BrokerError('bearer_forbidden', 'the token is not of the namespace in reach');
  return decision;
}

async function explainSupposed(call: Explain, deps: AdminDeps): Promise<Decision> {
  const { reach, body, correlationId } = call;
  const { cluster = deps.ownCluster, namespace, serviceAccount, audience, pod } = body;
  if (namespace === undefined) throw invalid('namespace', 'is required without a token');
  if (serviceAccount === undefined) throw invalid('serviceAccount', 'is required without a token');
  if (audience === undefined) throw invalid('audience', 'is required without a token');
  limitFilter(reach, { cluster, namespace });
  const supposed: Supposed = {
    ...toRequest(body),
    audience,
    identity: {
      kind: 'workload',
      cluster,
      namespace,
      serviceAccount,
      serviceAccountUid: 'supposed',
      ...(pod !== undefined && { pod: { name: pod, uid: 'supposed' } }),
    },
  };
  const decision = await decideSupposed(supposed, { deps, correlationId });
  if (decision) return decision;
  throw invalid('cluster', 'must be a cluster of the table');
}

async function decideSupposed(
  supposed: Supposed,
  { deps, correlationId }: { deps: AdminDeps; correlationId: string },
): Promise<Decision | undefined> {
  const cluster = findCluster(supposed, deps.clusters);
  if (!cluster) return undefined;
  const subject = toHypothetical(supposed, { cluster, clock: deps.clock });
  const { audience, roleName, scopes } = supposed;
  const request: GrantRequest = {
    // Nobody reads it: the subject is given.
    subject: { token: new Secret('') },
    audience,
    ...(roleName !== undefined && { roleName }),
    ...(scopes && { scopes }),
  };
  return deps.authorizeSubject(subject)(request, { correlationId, dialect: 'admin' });
}

/** Each combination that the pod asked for, once. */
function toDistinct(past: readonly DecisionRecord[]): readonly Supposed[] {
  const distinct = new Map<string, Supposed>();
  for (const record of past) {
    const supposed = toSupposed(record);
    if (!supposed) continue;
    const { identity, audience, roleName } = supposed;
    const key = JSON.stringify([identity, audience, roleName]);
    if (!distinct.has(key)) distinct.set(key, supposed);
  }
  return [...distinct.values()];
}

function toSupposed(record: DecisionRecord): Supposed | undefined {
  const { cluster, namespace, serviceAccount, serviceAccountUid, pod, podUid, audience } = record;
  if (cluster === undefined || namespace === undefined || serviceAccount === undefined)
    return undefined;
  const asked = audience ?? record.subjectAudiences?.[0];
  if (asked === undefined) return undefined;
  return {
    audience: asked,
    ...(record.requestedRole !== undefined && { roleName: record.requestedRole }),
    identity: {
      kind: 'workload',
      cluster,
      namespace,
      serviceAccount,
      serviceAccountUid: serviceAccountUid ?? 'supposed',
      ...(pod !== undefined && { pod: { name: pod, uid: podUid ?? 'supposed' } }),
      ...(record.node !== undefined && { node: { name: record.node } }),
    },
  };
}

function toRequest({ audience, role, scopes }: ExplainBody): Omit<GrantRequest, 'subject'> {
  return {
    ...(audience !== undefined && { audience }),
    ...(role !== undefined && { roleName: role }),
    ...(scopes && { scopes }),
  };
}

function toShown(decision: Decision): DecisionRecord {
  return sealRecord(toDecisionRecord(decision)).record;
}

function getDecisions({ store }: AdminDeps): NonNullable<AdminDeps['store']>['decisions'] {
  if (!store) throw new BrokerError('store_missing');
  return store.decisions;
}

function invalid(path: string, problem: string): RequestRefused {
  return new RequestRefused('document_invalid', [{ path, problem }]);
}
