// The one object that says what was decided and why: the audit line is it (with `kind`), `coatcheck explain` prints it,
// `/api/v1/decisions` answers it. Flat members first, because operators grep them; then every rule that was tried. It is
// bounded, holds a token by its fingerprint alone, and leaves out what does not apply. RECORD_FIELDS documents it.
import { scrubTokens } from '../common/secret.ts';
import type { Decision, DecisionAction } from './authorize.ts';
import { limitText, limitValue } from './decision-limits.ts';
import { type FailedClaim, REASONS, type Reason } from './errors.ts';
import { toSubject, type WorkloadIdentity } from './identity/identity.ts';
import type { Match } from './roles/match.ts';
import type { TriedRole } from './roles/resolve.ts';
import type { Expiry, ExpiryCap } from './tokens/expiry.ts';
import { toUtcTime } from './utc-time.ts';

/** Names and meaning stay, members may be added. Times are RFC 3339 in UTC. */
export interface DecisionRecord {
  readonly time: string;
  readonly correlationId: string;
  readonly dialect: string;
  readonly action: DecisionAction;
  readonly outcome: Decision['outcome'];
  readonly reason?: Reason;
  readonly toldReason?: string;
  readonly detail?: string;
  readonly failed?: FailedClaim;
  readonly subject?: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly serviceAccountUid?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly node?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly role?: string;
  readonly requestedRole?: string;
  readonly scopes?: readonly string[];
  readonly tokenId?: string;
  readonly expiresAt?: string;
  readonly expiryCap?: ExpiryCap;
  readonly expiryCaps?: Readonly<Partial<Record<ExpiryCap, string>>>;
  readonly subjectIssuer?: string;
  readonly subjectTokenId?: string;
  readonly subjectFingerprint?: string;
  readonly subjectAudiences?: readonly string[];
  readonly subjectExpiresAt?: string;
  readonly validation?: string;
  readonly review?: string;
  readonly tried?: readonly TriedInRecord[];
  readonly triedLeftOut?: number;
}

/** A role that was tried. */
export interface TriedInRecord {
  readonly role: string;
  readonly ok: boolean;
  /** What failed of the role as a whole; what failed of a single rule is with the rule. */
  readonly failed?: FailedClaim;
  readonly subjects?: readonly MatchInRecord[];
  readonly subjectsLeftOut?: number;
}

/** One subject rule of a role; `subject` counts from 1, as the rules stand in the role. */
export interface MatchInRecord {
  readonly subject: number;
  readonly ok: boolean;
  readonly specificity?: string;
  readonly failed?: FailedClaim;
}

/** What each member means: for docs/broker.md, which scripts/generate.ts writes, in the order of the members. */
export const RECORD_FIELDS = {
  time: 'RFC 3339, UTC, as all times here',
  correlationId: 'what the caller got as `X-Request-Id` and `correlation_id`',
  dialect: '`oauth`, or whose way it came in; `explain` in `coatcheck explain`',
  action: '`exchange`, `renew` or `revoke`',
  outcome: '`allow`; `deny`: the caller’s fault; `failure`: ours',
  reason: 'exact reason of a refusal ([errors.md](errors.md))',
  toldReason: 'what the caller was told instead: the public group of that reason',
  detail: 'a sentence for the operator; may quote configuration',
  failed: 'the first thing that did not hold: `claim`, `got`, `want`',
  subject: '`sub` of what is or would be issued: `k8s:…`, `oidc:…`, `client:…`, `user:…`',
  cluster: 'cluster whose key verified the signature',
  namespace: 'of the ServiceAccount',
  serviceAccount: 'its name',
  serviceAccountUid: 'its uid',
  pod: 'the pod the token is bound to',
  podUid: 'its uid',
  node: 'the node of that pod',
  issuer: 'name of the OIDC issuer whose key verified the signature',
  audience: 'the audience decided on',
  role: 'the role that fits',
  requestedRole: 'the role that was asked for',
  scopes: 'the scopes granted',
  tokenId: '`jti` or accessor of the client token',
  expiresAt: 'its end',
  expiryCap: 'what set the end: `ttl`, `maxTtl`, `ceiling`, `unbound`, `subject`',
  expiryCaps: 'when each of these would end it',
  subjectIssuer: '`iss` of the subject token',
  subjectTokenId: 'its `jti`; the API server’s audit log has it as `credential-id`',
  subjectFingerprint: 'first 16 hex of its SHA-256',
  subjectAudiences: 'its audiences',
  subjectExpiresAt: 'its end',
  validation: '`offline`, `review` or `hybrid`: the mode of the cluster',
  review:
    'how its API server was asked: `fresh`; `cached` or `shared`: by an earlier or a simultaneous request with the same token; `recent`: it did not answer, and accepted the pod within 15 minutes; `not_asked`: something else was refused first',
  tried:
    'every role that was tried (at most 20): `role`, `ok`, what `failed` of it, and each subject rule (at most 40 in all, those that fit first kept): `subject` (1 is the first of the role), `ok`, `specificity` or `failed`; `subjectsLeftOut` counts the rules that are not shown',
  triedLeftOut: 'how many more roles were tried',
} as const satisfies Record<keyof DecisionRecord, string>;

/** A hundred roles for one audience must not make a refusal cost a hundred times its request. */
export const MAX_TRIED = 20;
/** Over all roles of a record. */
export const MAX_RULES = 40;
const MAX_DETAIL = 500;

/** What was issued upon a decision, by the name that people may know. */
export interface IssuedFacts {
  readonly tokenId: string;
}

/** The record of a decision; members that do not apply are undefined, and absent once it is JSON. */
export function toDecisionRecord(decision: Decision, issued?: IssuedFacts): DecisionRecord {
  const { subject, expiry, reason } = decision;
  const who = subject?.identity;
  const workload: Partial<WorkloadIdentity> = who?.kind === 'workload' ? who : {};
  const tried = decision.tried.length > 0 ? toTried(decision.tried) : undefined;
  const record: { [Name in keyof DecisionRecord]: DecisionRecord[Name] | undefined } = {
    time: decision.time,
    correlationId: decision.id,
    dialect: decision.dialect,
    action: decision.action,
    outcome: decision.outcome,
    reason,
    toldReason: reason && REASONS[reason].group,
    detail: decision.detail && limitText(decision.detail, MAX_DETAIL),
    failed: decision.failed && limitFailed(decision.failed),
    subject: who && toSubject(who),
    cluster: workload.cluster ?? subject?.cluster,
    namespace: workload.namespace,
    serviceAccount: workload.serviceAccount,
    serviceAccountUid: workload.serviceAccountUid,
    pod: workload.pod?.name,
    podUid: workload.pod?.uid,
    node: workload.node?.name,
    issuer: who?.kind === 'oidc' ? who.issuer : subject?.issuerName,
    audience: decision.audience,
    role: decision.role,
    requestedRole: decision.requestedRole && limitText(decision.requestedRole),
    scopes: decision.scopes,
    tokenId: issued?.tokenId,
    expiresAt: expiry && toUtcTime(expiry.expiresAt),
    expiryCap: expiry?.cap,
    expiryCaps: expiry && toCaps(expiry),
    subjectIssuer: subject?.issuer,
    subjectTokenId: subject?.tokenId,
    subjectFingerprint: subject?.fingerprint,
    subjectAudiences: subject?.audiences && (limitValue(subject.audiences) as readonly string[]),
    subjectExpiresAt: subject?.expiresAt === undefined ? undefined : toUtcTime(subject.expiresAt),
    validation: decision.validation?.mode,
    review: decision.validation?.review,
    tried: tried?.shown,
    triedLeftOut: tried?.leftOut,
  };
  // JSON.stringify leaves out what is undefined; the type of a record says the same.
  return record as DecisionRecord;
}

export interface SealedRecord {
  /** One line of JSON, without a newline. */
  readonly json: string;
  /** What that JSON says. */
  readonly record: DecisionRecord;
}

/** The second line of defence: whatever looks like a token in a claim or a name is replaced, in text and object alike. */
export function sealRecord(record: DecisionRecord): SealedRecord {
  const raw = JSON.stringify(record);
  const json = scrubTokens(raw);
  return { json, record: json === raw ? record : (JSON.parse(json) as DecisionRecord) };
}

function toCaps({ caps }: Expiry): Partial<Record<ExpiryCap, string>> {
  const times: Partial<Record<ExpiryCap, string>> = {};
  for (const cap in caps) times[cap as ExpiryCap] = toUtcTime(caps[cap as ExpiryCap] ?? 0);
  return times;
}

function toTried(tried: readonly TriedRole[]): {
  shown: readonly TriedInRecord[];
  leftOut: number | undefined;
} {
  const roles = chooseShown(tried, MAX_TRIED);
  let rules = MAX_RULES;
  const shown = roles.map((index) => {
    const one = toTriedRole(tried[index] as TriedRole, rules);
    rules -= one.subjects?.length ?? 0;
    return one;
  });
  return { shown, leftOut: tried.length > shown.length ? tried.length - shown.length : undefined };
}

function toTriedRole(tried: TriedRole, maxRules: number): TriedInRecord {
  const { role, ok, failed, subjects } = tried;
  // The failure of the last rule stands for the role too; said once, at the rule.
  const isOfRule = failed !== undefined && subjects.some((one) => !one.ok && one.failed === failed);
  const shown = chooseShown(subjects, maxRules);
  return {
    role,
    ok,
    ...(failed && (!isOfRule || shown.length === 0) && { failed: limitFailed(failed) }),
    ...(shown.length > 0 && {
      subjects: shown.map((index) => toMatch(subjects[index] as Match, index)),
    }),
    ...(shown.length < subjects.length && { subjectsLeftOut: subjects.length - shown.length }),
  };
}

/** Positions of at most `max` items in their order; where not all have room, those that fit come before the others. */
function chooseShown(items: readonly { readonly ok: boolean }[], max: number): readonly number[] {
  const all = [...items.keys()];
  if (items.length <= max) return all;
  const fitting = all.filter((index) => items[index]?.ok);
  const others = all.filter((index) => !items[index]?.ok);
  return [...fitting, ...others].slice(0, Math.max(0, max)).sort((a, b) => a - b);
}

function toMatch(match: Match, index: number): MatchInRecord {
  return match.ok
    ? { subject: index + 1, ok: true, specificity: match.specificity }
    : { subject: index + 1, ok: false, failed: limitFailed(match.failed) };
}

function limitFailed({ claim, got, want }: FailedClaim): FailedClaim {
  return { claim: limitText(claim), got: limitValue(got), want: limitValue(want) };
}
