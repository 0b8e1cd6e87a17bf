// A decision record for people, rule by rule: what `coatcheck explain`, the demo and the CLI show. It takes records, so
// that one from the API of another broker, newer or older, reads the same.
import { scrubTokens } from '../common/secret.ts';
import type { DecisionRecord, MatchInRecord, TriedInRecord } from './decision-record.ts';
import type { FailedClaim } from './errors.ts';
import { EXPIRY_CAPS } from './tokens/expiry.ts';

const LABEL_WIDTH = 12;

/** Lines of text, with a newline at the end. */
export function formatDecision(record: DecisionRecord): string {
  const { failed, detail, scopes } = record;
  const rows: (readonly [label: string, ...lines: string[]])[] = [
    ['decision', describeOutcome(record)],
  ];
  if (failed) rows.push(['because', describeFailed(failed)]);
  if (detail !== undefined) rows.push([failed ? '' : 'because', detail]);
  rows.push(['subject', ...describeSubject(record)]);
  rows.push(['token', ...describeToken(record)]);
  if (record.validation !== undefined) rows.push(['validated', describeValidation(record)]);
  if (record.audience !== undefined) rows.push(['audience', record.audience]);
  if (record.requestedRole !== undefined) rows.push(['role asked', record.requestedRole]);
  rows.push(['roles tried', ...describeTried(record)]);
  if (scopes) rows.push(['scopes', scopes.join(' ') || '(none)']);
  rows.push(['expires', ...describeExpiry(record)]);
  if (record.tokenId !== undefined) rows.push(['issued', record.tokenId]);
  rows.push(['id', `${record.correlationId} at ${record.time}`]);
  const lines = rows.flatMap(([label, ...texts]) =>
    texts.map((text, i) => (i === 0 ? label : '').padEnd(LABEL_WIDTH) + text),
  );
  return scrubTokens(`${lines.join('\n')}\n`);
}

function describeOutcome({ outcome, action, reason, toldReason, role }: DecisionRecord): string {
  const what = action === 'exchange' || action === undefined ? '' : ` (${action})`;
  if (outcome === 'allow') return `allowed by role ${role}${what}`;
  const why = reason ? `${reason} (the caller is told: ${toldReason ?? reason})` : 'internal';
  return `${outcome === 'deny' ? 'denied' : 'not decided, our failure'}${what}: ${why}`;
}

function describeFailed({ claim, got, want }: FailedClaim): string {
  return `${claim}: got ${toText(got)}, want ${toText(want)}`;
}

function toText(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map(toText).join(', ')}]`
    : (JSON.stringify(value) ?? 'nothing');
}

function describeSubject(record: DecisionRecord): string[] {
  const { cluster, namespace, serviceAccount, serviceAccountUid, pod, podUid, node } = record;
  if (serviceAccount === undefined) return record.subject === undefined ? [] : [record.subject];
  return [
    `cluster ${cluster}, namespace ${namespace}, ServiceAccount ${serviceAccount} (uid ${serviceAccountUid})`,
    pod === undefined
      ? 'not bound to a pod'
      : `pod ${pod} (uid ${podUid})${node === undefined ? '' : ` on node ${node}`}`,
  ];
}

function describeToken(record: DecisionRecord): string[] {
  const { subjectFingerprint: fingerprint, subjectTokenId: tokenId, subjectIssuer } = record;
  const { subjectAudiences: audiences, subjectExpiresAt: expiresAt } = record;
  if (fingerprint === undefined) return [];
  const lines = [`sha256 ${fingerprint}${tokenId === undefined ? '' : `, jti ${tokenId}`}`];
  if (subjectIssuer !== undefined) lines.push(`issuer ${subjectIssuer}`);
  if (audiences) lines.push(`audiences ${toText(audiences)}`);
  if (expiresAt !== undefined) lines.push(`expires ${toShortTime(expiresAt)}`);
  return lines;
}

const REVIEWS: Readonly<Record<string, string>> = {
  fresh: 'accepted by the API server',
  shared: 'accepted by the API server, in a review of another request',
  cached: 'accepted by the API server a moment ago',
  recent: 'the API server does not answer; it accepted the pod within 15 minutes',
  not_asked: 'the API server was not asked',
};

function describeValidation({ validation = '', review }: DecisionRecord): string {
  return review === undefined ? validation : `${validation}: ${REVIEWS[review] ?? review}`;
}

function describeTried({ tried = [], triedLeftOut, role }: DecisionRecord): string[] {
  return [
    ...tried.flatMap((one) => describeRole(one, role)),
    ...(triedLeftOut ? [`and ${triedLeftOut} more`] : []),
  ];
}

function describeRole(tried: TriedInRecord, chosen: string | undefined): string[] {
  const { role, ok, failed, subjects = [], subjectsLeftOut } = tried;
  const verdict = ok ? (role === chosen ? 'fits, and is the one' : 'fits') : 'does not fit';
  return [
    `${mark(ok)} ${role}: ${verdict}${failed ? `: ${describeFailed(failed)}` : ''}`,
    ...subjects.map(
      (match) => `     ${mark(match.ok)} subject ${match.subject}: ${describeMatch(match)}`,
    ),
    ...(subjectsLeftOut ? [`     and ${subjectsLeftOut} more subjects`] : []),
  ];
}

function describeMatch({ ok, specificity, failed }: MatchInRecord): string {
  if (ok) return `fits (${specificity})`;
  return failed ? describeFailed(failed) : 'does not fit';
}

function mark(ok: boolean): string {
  return ok ? 'yes' : 'no ';
}

function describeExpiry({ expiresAt, expiryCap, expiryCaps = {} }: DecisionRecord): string[] {
  if (expiresAt === undefined) return [];
  return [
    `${toShortTime(expiresAt)}, set by ${expiryCap}`,
    ...EXPIRY_CAPS.flatMap((name) => {
      const at = expiryCaps[name];
      return at === undefined ? [] : [`  ${name.padEnd(8)}${toShortTime(at)}`];
    }),
  ];
}

function toShortTime(time: string): string {
  return time.replace('.000Z', 'Z');
}
