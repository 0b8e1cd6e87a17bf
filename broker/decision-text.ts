// A decision for people (rule by rule) and for programs (`--output json`, stable): what `coatcheck explain`, the demo and
// the console show. Both leave out what was thrown and what would be issued; no token is in either.
import { scrubTokens } from '../common/secret.ts';
import type { Decision, DecisionSubject } from './authorize.ts';
import { type FailedClaim, REASONS } from './errors.ts';
import { type Identity, toSubject, type WorkloadIdentity } from './identity/identity.ts';
import type { Validation } from './identity/validate.ts';
import type { Match } from './roles/match.ts';
import type { TriedRole } from './roles/resolve.ts';
import { EXPIRY_CAPS, type Expiry } from './tokens/expiry.ts';

/** Members of a decision that anybody may keep; the order is the order of the output. */
export type DecisionJson = Omit<Decision, 'grant' | 'error'> & {
  /** The `reason` on the wire, where it was refused. */
  readonly toldReason?: string;
};

/** The stable form: names and meaning stay, members may be added. */
export function toDecisionJson({ grant: _grant, error: _error, ...rest }: Decision): DecisionJson {
  return { ...rest, ...(rest.reason && { toldReason: REASONS[rest.reason].group }) };
}

/** Lines of text, with a newline at the end. */
export function formatDecision(decision: Decision): string {
  const { subject, tried, failed, expiry } = decision;
  const rows: (readonly [label: string, ...lines: string[]])[] = [
    ['decision', describeOutcome(decision)],
  ];
  if (failed) rows.push(['because', describeFailed(failed)]);
  if (decision.detail !== undefined) rows.push([failed ? '' : 'because', decision.detail]);
  if (subject?.identity) rows.push(['subject', ...describeIdentity(subject.identity)]);
  if (subject) rows.push(['token', ...describeToken(subject)]);
  if (decision.validation) rows.push(['validated', describeValidation(decision.validation)]);
  if (decision.audience !== undefined) rows.push(['audience', decision.audience]);
  if (tried.length > 0)
    rows.push(['roles tried', ...tried.flatMap((role) => describeRole(role, decision.role))]);
  if (decision.scopes) rows.push(['scopes', decision.scopes.join(' ') || '(none)']);
  if (expiry) rows.push(['expires', ...describeExpiry(expiry)]);
  rows.push(['id', `${decision.id} at ${decision.time}`]);
  return scrubTokens(
    `${rows.flatMap(([label, ...lines]) => lines.map((line, i) => `${(i === 0 ? label : '').padEnd(12)}${line}`)).join('\n')}\n`,
  );
}

function describeOutcome({ outcome, reason, role }: Decision): string {
  if (outcome === 'allow') return `allowed by role ${role}`;
  const why = reason ? `${reason} (the caller is told: ${REASONS[reason].group})` : 'internal';
  return outcome === 'deny' ? `denied: ${why}` : `not decided, our failure: ${why}`;
}

function describeFailed({ claim, got, want }: FailedClaim): string {
  return `${claim}: got ${toText(got)}, want ${toText(want)}`;
}

function toText(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map(toText).join(', ')}]`
    : (JSON.stringify(value) ?? 'nothing');
}

function describeIdentity(identity: Identity): string[] {
  return identity.kind === 'workload' ? describeWorkload(identity) : [toSubject(identity)];
}

function describeWorkload({
  cluster,
  namespace,
  serviceAccount,
  serviceAccountUid,
  pod,
  node,
}: WorkloadIdentity): string[] {
  return [
    `cluster ${cluster}, namespace ${namespace}, ServiceAccount ${serviceAccount} (uid ${serviceAccountUid})`,
    pod
      ? `pod ${pod.name} (uid ${pod.uid})${node ? ` on node ${node.name}` : ''}`
      : 'not bound to a pod',
  ];
}

function describeToken({
  fingerprint,
  issuer,
  audiences,
  tokenId,
  expiresAt,
}: DecisionSubject): string[] {
  const lines = [`sha256 ${fingerprint}${tokenId === undefined ? '' : `, jti ${tokenId}`}`];
  if (issuer !== undefined) lines.push(`issuer ${issuer}`);
  if (audiences) lines.push(`audiences ${toText(audiences)}`);
  if (expiresAt !== undefined) lines.push(`expires ${toTime(expiresAt)}`);
  return lines;
}

const REVIEWS: Readonly<Record<NonNullable<Validation['review']>, string>> = {
  fresh: 'accepted by the API server',
  shared: 'accepted by the API server, in a review of another request',
  cached: 'accepted by the API server a moment ago',
  recent: 'the API server does not answer; it accepted the pod within 15 minutes',
  not_asked: 'the API server was not asked',
};

function describeValidation({ mode, review }: Validation): string {
  return review === undefined ? mode : `${mode}: ${REVIEWS[review]}`;
}

function describeRole(tried: TriedRole, chosen: string | undefined): string[] {
  const { role, ok, failed, subjects } = tried;
  const verdict = ok ? (role === chosen ? 'fits, and is the one' : 'fits') : 'does not fit';
  const isWhole =
    failed !== undefined && !subjects.some((match) => !match.ok && match.failed === failed);
  return [
    `${mark(ok)} ${role}: ${verdict}${isWhole ? `: ${describeFailed(failed)}` : ''}`,
    ...subjects.map(
      (match, i) => `     ${mark(match.ok)} subject ${i + 1}: ${describeMatch(match)}`,
    ),
  ];
}

function describeMatch(match: Match): string {
  return match.ok ? `fits (${match.specificity})` : describeFailed(match.failed);
}

function mark(ok: boolean): string {
  return ok ? 'yes' : 'no ';
}

function describeExpiry({ expiresAt, cap, caps }: Expiry): string[] {
  return [
    `${toTime(expiresAt)}, set by ${cap}`,
    ...EXPIRY_CAPS.filter((name) => caps[name] !== undefined).map(
      (name) => `  ${name.padEnd(8)}${toTime(caps[name] ?? 0)}`,
    ),
  ];
}

function toTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
