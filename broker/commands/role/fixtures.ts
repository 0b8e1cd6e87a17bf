// Fixtures of `coatcheck role test`: who asks for what, and what is to come of it. A subject here was proved by nobody;
// it is what a verified token would say.
import { z } from 'zod';
import {
  type Checked,
  checkDocument,
  type ReadDocument,
  readDocuments,
} from '../../../common/documents.ts';
import { isAudience } from '../../../common/protocol/audiences.ts';
import { REASONS, type Reason } from '../../errors.ts';
import type { Identity } from '../../identity/identity.ts';
import { DURATION_RULE, findSeconds } from '../../roles/duration.ts';

const name = z.string().min(1).max(253);
const claims = z.record(z.string(), z.json()).default({});
const seconds = z.unknown().transform((value, context) => {
  const found = findSeconds(value);
  if (found !== undefined) return found;
  context.addIssue({ code: 'custom', message: `must be ${DURATION_RULE}` });
  return z.NEVER;
});

const workload = z.strictObject({
  cluster: name.optional(),
  namespace: name,
  serviceAccount: name,
  /** Name of the pod; false: the token is bound to none. */
  pod: z.union([name, z.literal(false)]).default('pod'),
  podUid: name.default('pod-uid'),
  node: name.optional(),
  nodeUid: name.optional(),
  /** Labels of the namespace; without them no namespaceSelector fits. */
  namespaceLabels: z.record(z.string(), z.string()).optional(),
  claims,
});
const oidc = z.strictObject({ issuer: name, subject: z.string().min(1).max(512), claims });
const client = z.strictObject({ client: name, claims });
const user = z.strictObject({
  /** `<provider>:<subject>`. */
  user: z.string().regex(/^[^:]+:.+$/, { error: 'must be <provider>:<subject>' }),
  /** Without the provider. */
  groups: z.array(name).default([]),
  claims,
});

const fixture = z.strictObject({
  name: z.string().min(1).max(200),
  subject: z.union([workload, oidc, client, user], {
    error:
      'must be { namespace, serviceAccount, … }, { issuer, subject, claims }, { client } or { user, groups }',
  }),
  audience: z.string().refine(isAudience, { error: 'must be an audience' }),
  /** Of the subject token, where it has more than the one asked for. */
  audiences: z.array(name).min(1).optional(),
  /** Life that is left in the subject token. */
  subjectTtl: seconds.default(3600),
  role: name.optional(),
  scopes: z.array(name).min(1).optional(),
  dialect: name.default('oauth'),
  expect: z.strictObject({
    outcome: z.enum(['allow', 'deny']),
    role: name.optional(),
    /** The exact reason, as in log and audit. */
    reason: z.enum(Object.keys(REASONS) as [Reason, ...Reason[]]).optional(),
    /** What failed first, as in the decision: a claim, or `condition`. */
    failed: name.optional(),
    scopes: z.array(name).optional(),
    ttl: seconds.optional(),
  }),
});

export type Fixture = z.infer<typeof fixture>;

const wrapped = z.strictObject({ tests: z.array(fixture) });

export interface FixtureFile {
  readonly fixtures: readonly Fixture[];
  readonly problems: readonly string[];
}

/** Fixtures of a file: a list, or a list below `tests`. */
export function parseFixtures(file: string, content: string): FixtureFile {
  const documents = readDocuments(content).map((document, at) => {
    const checked = checkFixtures(document);
    return checked.ok
      ? { fixtures: checked.value, problems: [] }
      : { fixtures: [], problems: checked.problems.map((one) => `${file}#${at + 1}: ${one}`) };
  });
  const fixtures = documents.flatMap((one) => one.fixtures);
  const problems = documents.flatMap((one) => one.problems);
  if (fixtures.length === 0 && problems.length === 0)
    problems.push(`${file}: there is no fixture in it`);
  return { fixtures, problems };
}

function checkFixtures({ value, problems }: ReadDocument): Checked<readonly Fixture[]> {
  if (problems.length > 0) return { ok: false, problems };
  if (value === null) return { ok: true, value: [] };
  if (Array.isArray(value)) return checkDocument(z.array(fixture), value);
  const checked = checkDocument(wrapped, value);
  return checked.ok ? { ok: true, value: checked.value.tests } : checked;
}

/** The identity that the subject of a fixture is. */
export function toIdentity({ subject }: Fixture, ownCluster: string): Identity {
  if ('namespace' in subject) {
    const { cluster = ownCluster, namespace, serviceAccount, pod, podUid, node, nodeUid } = subject;
    return {
      kind: 'workload',
      cluster,
      namespace,
      serviceAccount,
      serviceAccountUid: 'service-account-uid',
      ...(pod !== false && { pod: { name: pod, uid: podUid } }),
      ...(node !== undefined && {
        node: { name: node, ...(nodeUid !== undefined && { uid: nodeUid }) },
      }),
    };
  }
  if ('issuer' in subject)
    return { kind: 'oidc', issuer: subject.issuer, subject: subject.subject };
  if ('client' in subject) return { kind: 'client', id: subject.client };
  const at = subject.user.indexOf(':');
  return {
    kind: 'user',
    provider: subject.user.slice(0, at),
    subject: subject.user.slice(at + 1),
    groups: subject.groups,
  };
}
