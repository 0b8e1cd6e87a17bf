// `coatcheck role test`: roles against fixtures, decided by what the broker decides by. Who changes a role sees in CI
// whom it lets in now, and whom it does not any more.
import type { Clock } from '../../../common/clock.ts';
import type { Command, CommandIo } from '../../../common/command.ts';
import { Secret } from '../../../common/secret.ts';
import { describeFlags, EXIT_BAD_SETTINGS, path, SettingsError } from '../../../common/settings.ts';
import { createAuthorize, type Decision } from '../../authorize.ts';
import type { VerifiedSubject } from '../../identity/identity.ts';
import type { NamespaceLabels } from '../../roles/namespaces.ts';
import { NO_NAMESPACES } from '../../roles/namespaces.ts';
import { resolveRole } from '../../roles/resolve.ts';
import type { Role } from '../../roles/role.ts';
import { indexRoles, type RoleIndex } from '../../roles/role-index.ts';
import { BROKER_SETTINGS } from '../../settings.ts';
import { type Fixture, parseFixtures, toIdentity } from './fixtures.ts';
import { ROLE_TABLE, readCommand, readText } from './input.ts';

const TEST_TABLE = {
  fixtures: path({
    flagOnly: true,
    doc: 'YAML file with fixtures: name, subject, audience, expect (docs/roles.md)',
  }),
  maxTokenTtlSeconds: BROKER_SETTINGS.maxTokenTtlSeconds,
} as const;

const EXIT_FAILED = 1;

export const command: Command = {
  describe: 'decide about fixtures by role files, and compare with what is expected, in CI',
  help: () => `coatcheck role test -f FILE|DIR… --fixtures FILE [flags]

Decides about every fixture as the broker would, without a broker, and shows each difference from what is expected:

  - name: checkout may read
    subject: { namespace: shop, serviceAccount: checkout }
    audience: payments
    expect: { outcome: allow, role: payments-checkout, scopes: [payments:read] }

  -f, --filename FILE…   role files or folders of them; - is standard input; may be repeated

Exit codes: 0 all as expected, 1 not, or a file has problems, 2 used wrongly.

Flags
${describeFlags({ ...TEST_TABLE, ...ROLE_TABLE })}
`,
  run,
};

export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { settings, files } = await readCommand(TEST_TABLE, args, io);
    const { fixtures, problems } = parseFixtures(settings.fixtures, readText(settings.fixtures));
    const all = [...files.problems, ...problems];
    const { ownCluster, maxTokenTtlSeconds } = settings;
    // With a broken file some roles are missing, and what is decided without them means nothing.
    const results =
      all.length > 0
        ? []
        : await runFixtures(fixtures, { roles: files.roles, ownCluster, maxTokenTtlSeconds });
    io.stdout(
      settings.output === 'json'
        ? `${JSON.stringify({ problems: all, results }, null, 2)}\n`
        : renderText(all, results),
    );
    return all.length > 0 || results.some(({ ok }) => !ok) ? EXIT_FAILED : 0;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck role test: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
}

/** Names are stable: they are `--output json`. */
export interface FixtureResult {
  readonly name: string;
  readonly ok: boolean;
  /** Every member of `expect` that differs. */
  readonly differences: readonly {
    readonly member: string;
    readonly want: unknown;
    readonly got: unknown;
  }[];
  readonly outcome: Decision['outcome'];
  /** The first thing that did not hold, for people. */
  readonly because?: string;
}

interface Surroundings {
  readonly roles: readonly Role[];
  readonly ownCluster: string;
  readonly maxTokenTtlSeconds: number;
}

/** Decides about each fixture, one after the other. */
export async function runFixtures(
  fixtures: readonly Fixture[],
  around: Surroundings,
): Promise<readonly FixtureResult[]> {
  const index = indexRoles(around.roles);
  const results: FixtureResult[] = [];
  for (const fixture of fixtures)
    results.push(compare(fixture, await decide(fixture, { ...around, index })));
  return results;
}

/** Any moment would do. */
const NOW_SECONDS = 1_800_000_000;
const CLOCK: Clock = {
  now: () => NOW_SECONDS * 1000,
  sleep: () => Promise.reject(new TypeError('nothing waits in a test of roles')),
};

function decide(
  fixture: Fixture,
  { index, ownCluster, maxTokenTtlSeconds }: Surroundings & { index: RoleIndex },
): Promise<Decision> {
  const subject = toSubject(fixture, ownCluster);
  const namespaces = toNamespaces(fixture);
  const validation = { mode: 'offline' } as const;
  const authorize = createAuthorize({
    validate: async () => ({ subject, validation, confirm: async () => validation }),
    resolve: (query) => resolveRole(index, query, { ownCluster, namespaces, triesAll: true }),
    clock: CLOCK,
    maxTtlSeconds: maxTokenTtlSeconds,
  });
  const { audience, role, scopes, dialect, name } = fixture;
  return authorize(
    {
      subject: { token: new Secret('') },
      audience,
      ...(role !== undefined && { roleName: role }),
      ...(scopes && { scopes }),
    },
    { correlationId: name, dialect },
  );
}

function toSubject(fixture: Fixture, ownCluster: string): VerifiedSubject {
  const { audience, audiences = [audience], subjectTtl, subject } = fixture;
  return {
    identity: toIdentity(fixture, ownCluster),
    issuer: 'fixture',
    audiences,
    issuedAt: NOW_SECONDS,
    expiresAt: NOW_SECONDS + subjectTtl,
    fingerprint: '',
    claims: subject.claims,
  };
}

function toNamespaces({ subject }: Fixture): NamespaceLabels {
  const labels = 'namespace' in subject ? subject.namespaceLabels : undefined;
  return labels ? { find: () => labels, isReady: () => true } : NO_NAMESPACES;
}

function compare({ name, expect }: Fixture, decision: Decision): FixtureResult {
  const { outcome, role, reason, failed, scopes, expiry, grant } = decision;
  const got: Readonly<Record<keyof Fixture['expect'], unknown>> = {
    outcome,
    role: outcome === 'allow' ? role : undefined,
    reason,
    failed: failed?.claim,
    scopes: outcome === 'allow' ? scopes?.toSorted() : undefined,
    ttl: grant && expiry && expiry.expiresAt - grant.issuedAt,
  };
  const wanted = { ...expect, ...(expect.scopes && { scopes: expect.scopes.toSorted() }) };
  const differences = Object.entries(wanted)
    .map(([member, want]) => ({ member, want, got: got[member as keyof typeof got] ?? null }))
    .filter(
      (one) => one.want !== undefined && JSON.stringify(one.want) !== JSON.stringify(one.got),
    );
  const because =
    failed && `${failed.claim}: got ${toText(failed.got)}, want ${toText(failed.want)}`;
  return { name, ok: differences.length === 0, differences, outcome, ...(because && { because }) };
}

function renderText(problems: readonly string[], results: readonly FixtureResult[]): string {
  const failed = results.filter(({ ok }) => !ok);
  const lines = [
    ...problems.map((problem) => `problem: ${problem}`),
    ...failed.flatMap(({ name, differences, because }) => [
      `FAIL ${name}`,
      ...differences.flatMap(({ member, want, got }) => [
        `  - ${member}: ${toText(want)}`,
        `  + ${member}: ${toText(got)}`,
      ]),
      ...(because === undefined ? [] : [`    because ${because}`]),
    ]),
    ...(problems.length > 0
      ? [`nothing was decided: ${problems.length} problems`]
      : [
          `${results.length} fixtures: ${results.length - failed.length} as expected, ${failed.length} not`,
        ]),
  ];
  return `${lines.join('\n')}\n`;
}

function toText(value: unknown): string {
  return JSON.stringify(value) ?? 'nothing';
}
