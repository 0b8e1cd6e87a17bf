// `coatcheck doctor`: looks at an installation with the person's own rights, changes nothing, and says of each thing what was
// seen, what it means and what mends it.
import { readFile } from 'node:fs/promises';
import { type Clock, systemClock } from '../../../common/clock.ts';
import type { Command, CommandIo } from '../../../common/command.ts';
import { type KubeAccess, readKubeAccess } from '../../../common/kube/kubeconfig.ts';
import { KubeconfigError } from '../../../common/kube/kubeconfig-file.ts';
import { createPersonClient, type PersonClient } from '../../../common/kube/person-client.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  flag,
  integer,
  oneOf,
  optional,
  path,
  readSettings,
  SettingsError,
  type SettingsOf,
  text,
  url,
} from '../../../common/settings.ts';
import { formatOutput, OUTPUTS } from '../../table.ts';
import { VERSION } from '../../version.ts';
import { type CheckContext, type Row, runChecks, toFinding } from './check.ts';
import { checkVersion } from './checks/api-server.ts';
import { CHECKS } from './checks/list.ts';
import {
  describeInstallation,
  findInstallation,
  type Installation,
  SeveralInstallations,
} from './installation.ts';
import { createKube, createSender, type Kube, Unreadable } from './kube.ts';
import { renderReport, toPlainRow, toSummary } from './report.ts';

const LABEL = {
  pattern: /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  allowed: 'a name of Kubernetes',
};

const DOCTOR_TABLE = {
  namespace: optional(
    text({
      flagOnly: true,
      short: 'n',
      ...LABEL,
      doc: 'Namespace of the installation; found by its labels otherwise',
    }),
  ),
  release: optional(
    text({ flagOnly: true, ...LABEL, doc: 'Name of the release, where there are several' }),
  ),
  probeNamespace: optional(
    text({
      flagOnly: true,
      ...LABEL,
      doc: 'Where the dry run of an annotated pod is tried; one is chosen otherwise',
    }),
  ),
  brokerUrl: optional(
    url({
      flagOnly: true,
      doc: 'The broker, asked directly and without a credential (its certificate is verified); through the API server otherwise',
    }),
  ),
  brokerCaFile: optional(
    path({
      flagOnly: true,
      doc: "CA that signs the broker's certificate, PEM, for --broker-url; the system's otherwise",
    }),
  ),
  kubeconfig: optional(
    path({
      flagOnly: true,
      doc: 'The kubeconfig, instead of KUBECONFIG and ~/.kube/config; in a pod its ServiceAccount',
    }),
  ),
  context: optional(
    text({ flagOnly: true, doc: 'Context of the kubeconfig; the current one otherwise' }),
  ),
  timeoutSeconds: integer({
    flagOnly: true,
    default: 10,
    min: 1,
    max: 120,
    doc: 'How long one request may take',
  }),
  strict: flag({
    flagOnly: true,
    default: false,
    doc: 'Exit code 1 for warnings and for what could not be seen, too',
  }),
  output: oneOf({
    flagOnly: true,
    short: 'o',
    values: OUTPUTS,
    default: 'table',
    doc: 'For people, or for programs: the names of members stay, more may come',
  }),
} as const;
type DoctorSettings = SettingsOf<typeof DOCTOR_TABLE>;

const EXIT_PROBLEM = 1;
/** A check makes a few requests one after the other. */
const REQUESTS_OF_A_CHECK = 4;

export const command: Command = {
  describe: 'look at an installation: what is wrong, what it means, what mends it',
  help: () => `coatcheck doctor [flags]

Looks at the installation that a kubeconfig leads to, with the person's own rights. It changes nothing, reads no Secret, and
stores nothing: how an annotated pod fares is tried by a dry run.

  coatcheck doctor
  coatcheck doctor --context production --namespace auth --output json
  coatcheck doctor --probe-namespace shop      # as somebody who may make pods there alone

Each row is ok, a warning, a problem, or unknown: then the right is named that you lack. Rows that are not ok say what they
mean and the command or value that mends it. What it looks at: the API server and clocks; Deployments, pods and why they
restart; certificates and the registration of the webhook; the issuer; roles; the store; the controller; rights.

Exit codes: 0 no problem was seen, 1 there is one, 2 used wrongly.

Flags
${describeFlags(DOCTOR_TABLE)}
`,
  run: async (args, io) => {
    try {
      return await run(args, io, systemClock);
    } catch (error) {
      const isUse = error instanceof SettingsError || error instanceof KubeconfigError;
      if (!isUse && !(error instanceof SeveralInstallations)) throw error;
      io.stderr(`coatcheck doctor: ${error.message}\n`);
      return EXIT_BAD_SETTINGS;
    }
  },
};

async function run(args: readonly string[], io: CommandIo, clock: Clock): Promise<number> {
  const { settings, operands } = readSettings(DOCTOR_TABLE, { args });
  if (operands.length > 0) throw new SettingsError(['coatcheck doctor takes flags only']);
  const timeoutMs = settings.timeoutSeconds * 1000;
  const access = await readKubeAccess({
    ...(settings.kubeconfig !== undefined && { kubeconfig: settings.kubeconfig }),
    ...(settings.context !== undefined && { context: settings.context }),
    environment: io.environment,
    // Somebody may have to sign in at a browser.
    timeoutMs: Math.max(timeoutMs, 120_000),
    isInteractive: io.ask !== undefined,
  });
  const client = openClient(access, timeoutMs);
  const direct = await openBroker(settings, timeoutMs);
  try {
    const rows = (await examine({ access, client, direct, settings, clock })).map(toPlainRow);
    const report = { context: access.context, server: access.server, rows, ...toSummary(rows) };
    io.stdout(await formatOutput(settings.output, report, () => renderReport(report)));
    const bad = settings.strict ? rows.filter(({ state }) => state !== 'ok') : [];
    return bad.length > 0 || report.problems > 0 ? EXIT_PROBLEM : 0;
  } finally {
    client.close();
    direct?.close();
  }
}

async function openBroker(
  { brokerUrl, brokerCaFile }: DoctorSettings,
  timeoutMs: number,
): Promise<PersonClient | undefined> {
  if (brokerUrl === undefined) return undefined;
  const ca = brokerCaFile === undefined ? undefined : await readCaFile(brokerCaFile);
  const credential = { impersonation: {} };
  const access = { server: brokerUrl, context: '', namespace: '', isInsecure: false, credential };
  return openClient({ ...access, ...(ca !== undefined && { ca }) }, timeoutMs);
}

async function readCaFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new SettingsError([`--broker-ca-file cannot be read (${code})`]);
  }
}

function openClient(access: KubeAccess, timeoutMs: number): PersonClient {
  try {
    return createPersonClient({ access, timeoutMs, userAgent: `coatcheck-doctor/${VERSION}` });
  } catch {
    // What OpenSSL says of a key or certificate that it cannot read helps nobody, and may quote it.
    throw new KubeconfigError('the client certificate or key of the kubeconfig cannot be read');
  }
}

interface Examination {
  readonly access: KubeAccess;
  readonly client: PersonClient;
  readonly direct: PersonClient | undefined;
  readonly settings: DoctorSettings;
  readonly clock: Clock;
}

async function examine({
  access,
  client,
  direct,
  settings,
  clock,
}: Examination): Promise<readonly Row[]> {
  const { namespace, release, probeNamespace, brokerUrl } = settings;
  const sendToBroker = direct && createSender(direct);
  const kube = createKube(client);
  const context: CheckContext = {
    kube,
    clock,
    personNamespace: access.namespace,
    probeNamespace,
    randomName: () => `coatcheck-doctor-${crypto.randomUUID().slice(0, 8)}`,
    version: VERSION,
    ownIssuer: findOwnIssuer(access),
    ...(sendToBroker && {
      directBroker: {
        url: brokerUrl ?? '',
        ask: (at) => sendToBroker({ path: at, accept: '*/*' }),
      },
    }),
  };
  const timeoutMs = settings.timeoutSeconds * 1000 * REQUESTS_OF_A_CHECK;
  const first = await runChecks(
    [{ name: 'api-server', needs: 'cluster', run: checkVersion }],
    context,
    timeoutMs,
  );
  // Everything else would say the same, twenty times.
  const failure = await findFailure(kube);
  if (failure) {
    const seen = `${access.server} (context ${access.context}): ${failure.message}`;
    const mend = 'kubectl --context … get --raw /version: does kubectl reach it?';
    return [
      {
        check: 'api-server',
        state: 'problem',
        seen,
        means: 'nothing else could be looked at',
        mend,
      },
    ];
  }
  const wanted = { namespace, release };
  const { installation, row } = await look(kube, wanted);
  const rows = await runChecks(
    CHECKS,
    { ...context, ...(installation && { installation }) },
    timeoutMs,
  );
  return [...first, row, ...rows];
}

/** Whether the API server answers this person at all. */
async function findFailure(kube: Kube): Promise<Error | undefined> {
  try {
    const { status } = await kube.ask('/version');
    if (status !== 401) return undefined;
    return new Unreadable('it does not accept the credential of the kubeconfig', status);
  } catch (error) {
    return error as Error;
  }
}

async function look(
  kube: Kube,
  wanted: Parameters<typeof findInstallation>[1],
): Promise<{ installation: Installation | undefined; row: Row }> {
  const check = 'installation';
  try {
    const installation = await findInstallation(kube, wanted);
    return { installation, row: { check, ...describeInstallation(installation, wanted, VERSION) } };
  } catch (error) {
    if (error instanceof SeveralInstallations) throw error;
    const finding = toFinding(error);
    const means = 'what needs the installation was left out';
    const mend =
      wanted.namespace === undefined
        ? 'name its namespace with --namespace, if you may look there'
        : finding.mend;
    return {
      installation: undefined,
      row: { check, ...finding, means, ...(mend !== undefined && { mend }) },
    };
  }
}

/** Of a ServiceAccount token alone: its claims are no secret, and it stays where it is. */
function findOwnIssuer({ credential: { token } }: KubeAccess): string | undefined {
  const payload = token?.reveal().split('.')[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    return 'kubernetes.io' in claims && typeof claims.iss === 'string' ? claims.iss : undefined;
  } catch {
    return undefined;
  }
}
