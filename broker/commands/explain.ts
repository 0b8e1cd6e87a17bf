// `coatcheck explain`: what the broker would decide about a token, rule by rule, without a broker. The same files, the
// same authorize(), nothing issued. Keys of a cluster that are behind a URL are fetched as the broker would.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { systemClock } from '../../common/clock.ts';
import type { Command, CommandIo } from '../../common/command.ts';
import { createLogger } from '../../common/log.ts';
import { Secret } from '../../common/secret.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  flag,
  list,
  oneOf,
  optional,
  path,
  readSettings,
  SettingsError,
  type SettingsOf,
  text,
  toVariable,
} from '../../common/settings.ts';
import { createAuthorize } from '../authorize.ts';
import { checkRolesPath, readClusters } from '../configuration.ts';
import { type DecisionRecord, sealRecord, toDecisionRecord } from '../decision-record.ts';
import { formatDecision } from '../decision-text.ts';
import { createClusterKeys } from '../identity/cluster-keys.ts';
import type { Cluster } from '../identity/clusters.ts';
import { createValidator } from '../identity/validate.ts';
import { createVerifier } from '../identity/verify.ts';
import { type NamespaceLabels, NO_NAMESPACES } from '../roles/namespaces.ts';
import { resolveRole } from '../roles/resolve.ts';
import { indexRoles } from '../roles/role-index.ts';
import { createFileSource } from '../roles/sources/file.ts';
import { BROKER_SETTINGS } from '../settings.ts';

const SHARED = [
  'clustersFile',
  'rolesPath',
  'maxTokenTtlSeconds',
  'allowBrokerPolicies',
  'allowExtraClaims',
  'reservedAudiences',
] as const;

const EXPLAIN_SETTINGS = {
  tokenFile: path({
    flagOnly: true,
    doc: 'File with the ServiceAccount token; - is standard input',
  }),
  clustersFile: BROKER_SETTINGS.clustersFile,
  roles: optional(
    path({
      flagOnly: true,
      doc: 'Role files, as --roles-path of the broker; one of the two is required',
    }),
  ),
  rolesPath: optional(BROKER_SETTINGS.rolesPath),
  audience: optional(
    text({
      flagOnly: true,
      doc: 'Audience to ask for; may be left out when the token has exactly one',
    }),
  ),
  role: optional(text({ flagOnly: true, doc: 'Role to ask for; the one that fits otherwise' })),
  scope: list({
    flagOnly: true,
    default: [],
    doc: "Scopes to ask for, separated by commas; all of the role's otherwise",
  }),
  withoutStore: flag({
    flagOnly: true,
    default: false,
    doc: 'Decide as a broker without a store, where roles of opaque tokens do not count',
  }),
  namespaceLabels: list({
    flagOnly: true,
    default: [],
    pattern: /^[^=]+=[^=]*$/,
    allowed: 'key=value',
    doc: "Labels of the token's namespace, as key=value separated by commas: without them no namespaceSelector fits, because nobody is asked for them",
  }),
  output: oneOf({
    flagOnly: true,
    values: ['text', 'json'],
    default: 'text',
    doc: 'For people or for programs',
  }),
  maxTokenTtlSeconds: BROKER_SETTINGS.maxTokenTtlSeconds,
  allowBrokerPolicies: BROKER_SETTINGS.allowBrokerPolicies,
  allowExtraClaims: BROKER_SETTINGS.allowExtraClaims,
  reservedAudiences: BROKER_SETTINGS.reservedAudiences,
};

type ExplainSettings = SettingsOf<typeof EXPLAIN_SETTINGS>;

export const command: Command = {
  describe: 'why a ServiceAccount token gets a client token, or not, rule by rule',
  help: () => `coatcheck explain --token-file FILE --clusters-file FILE --roles PATH [flags]

Decides as the broker would and shows every rule it tried and the first thing that failed. Nothing is issued and the
token is never printed. Roles are those of files alone; where there are TokenRoles or roles of the API, ask the
broker about a pod: coatcheck explain pod --help.

  kubectl create token checkout --audience payments | coatcheck explain --token-file - --clusters-file c.yaml --roles roles/

Inside the broker's pod the broker's own variables are used, so --token-file is enough:

  … | kubectl -n auth exec -i deploy/coatcheck-broker -- /usr/bin/node /coatcheck/coatcheck.mjs explain --token-file -

Exit codes: 0 allowed, 1 denied or not decided, 2 used wrongly.

Flags
${describeFlags(EXPLAIN_SETTINGS)}
`,
  run,
};

export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { settings, clusters } = readInput(args, io);
    const token = settings.tokenFile === '-' ? await io.stdin() : readToken(settings.tokenFile);
    const record = await explain(settings, { clusters, token: new Secret(token.trim()), io });
    io.stdout(
      settings.output === 'json'
        ? `${JSON.stringify(record, undefined, 2)}\n`
        : formatDecision(record),
    );
    return record.outcome === 'allow' ? 0 : 1;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck explain: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
}

interface Input {
  readonly settings: ExplainSettings;
  readonly clusters: readonly Cluster[];
}

function readInput(args: readonly string[], io: CommandIo): Input {
  // In the broker's pod there are variables of the broker that mean nothing here.
  const environment = Object.fromEntries(
    SHARED.map((name) => [toVariable(name), io.environment[toVariable(name)]]).filter(
      ([, value]) => value !== undefined,
    ),
  );
  let clusters: readonly Cluster[] = [];
  const { settings } = readSettings(
    EXPLAIN_SETTINGS,
    { args, environment },
    ({ clustersFile, roles, rolesPath }) => [
      ...(roles === undefined && rolesPath === undefined
        ? ['--roles is required: the role files']
        : attempt(() => checkRolesPath(roles ?? rolesPath ?? ''))),
      ...attempt(() => {
        if (clustersFile !== undefined) clusters = readClusters(clustersFile);
      }),
    ],
  );
  return { settings, clusters };
}

function attempt(check: () => void): readonly string[] {
  try {
    check();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingsError([
      `--token-file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    ]);
  }
}

async function explain(
  settings: ExplainSettings,
  { clusters, token, io }: { clusters: readonly Cluster[]; token: Secret; io: CommandIo },
): Promise<DecisionRecord> {
  const clock = systemClock;
  const log = createLogger({ level: 'error', process: 'explain', stream: { write: io.stderr } });
  const keys = createClusterKeys({ clusters, clock, log });
  const roles = createFileSource({
    path: settings.roles ?? settings.rolesPath ?? '',
    limits: {
      allowBrokerPolicies: settings.allowBrokerPolicies,
      allowClaims: settings.allowExtraClaims,
      reservedAudiences: settings.reservedAudiences,
      allowOpaque: !settings.withoutStore,
    },
    clock,
    log,
  });
  // All keys, as a running broker has them: whether two clusters have the same one shows only then.
  await Promise.all([roles.reload(), ...keys.clusters.map((cluster) => cluster.refresh())]);
  for (const problem of roles.problems()) io.stderr(`warning: ${problem}\n`);
  const ownCluster = clusters.find(({ own }) => own)?.name ?? '';
  const index = indexRoles(roles.current());
  const namespaces = toNamespaces(settings.namespaceLabels);
  const authorize = createAuthorize({
    validate: createValidator({
      clusters,
      verifier: createVerifier({ keys, ownIssuers: [], clock }),
      ownIssuers: [],
      clock,
      log,
      // A person's laptop has no credential to ask with; the decision says that nobody was asked.
      asksForReviews: false,
    }).validate,
    resolve: (query) => resolveRole(index, query, { ownCluster, namespaces, triesAll: true }),
    clock,
    maxTtlSeconds: settings.maxTokenTtlSeconds,
  });
  const { audience, role, scope } = settings;
  const decision = await authorize(
    {
      subject: { token },
      ...(audience !== undefined && { audience }),
      ...(role !== undefined && { roleName: role }),
      ...(scope.length > 0 && { scopes: scope }),
    },
    // As the token endpoint, because a condition may ask whose way a request came in.
    { correlationId: randomUUID(), dialect: 'oauth' },
  );
  return sealRecord(toDecisionRecord({ ...decision, dialect: 'explain' })).record;
}

/** What the command line says of the token's namespace; only roles with a namespaceSelector ask. */
function toNamespaces(labels: readonly string[]): NamespaceLabels {
  if (labels.length === 0) return NO_NAMESPACES;
  const known = Object.fromEntries(labels.map((label) => label.split('=', 2)));
  return { find: () => known, isReady: () => true };
}
