// What every command has in common that speaks to the admin API: where the broker is, with which credential, in which form
// the answer is printed, how a failure is told. A command adds its own flags and its work.
import { readFileSync } from 'node:fs';
import type { Command, CommandIo } from '../common/command.ts';
import { Secret } from '../common/secret.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  integer,
  oneOf,
  optional,
  path,
  readSettings,
  SettingsError,
  type SettingsOf,
  type SettingsTable,
  text,
  toFlag,
  toVariable,
  url,
} from '../common/settings.ts';
import { type ApiClient, createApiClient } from './client.ts';
import { ApiFailure } from './failure.ts';
import { formatOutput, OUTPUTS } from './table.ts';

export const CLIENT_TABLE = {
  server: url({ doc: 'The broker: https://…, or http://… on this machine' }),
  tokenFile: optional(
    path({
      doc: 'File with the credential (- is standard input): a static token, or a ServiceAccount token made for the broker; COATCHECK_TOKEN may hold it instead, where a file cannot be had',
    }),
  ),
  caFile: optional(
    path({ doc: "CA that signs the broker's certificate, PEM; the system's otherwise" }),
  ),
  tlsServerName: optional(
    text({
      pattern: /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/,
      allowed: 'a DNS name',
      doc: 'Name that the certificate must carry, where --server is another one: localhost, behind a port-forward',
    }),
  ),
  timeoutSeconds: integer({ default: 30, min: 1, max: 600, doc: 'How long one request may take' }),
  output: oneOf({
    flagOnly: true,
    short: 'o',
    values: OUTPUTS,
    default: 'table',
    doc: 'For people, or for programs: the names of members stay, more may come',
  }),
} as const;

type ClientTable = typeof CLIENT_TABLE;

export interface ApiContext<Table extends SettingsTable> {
  readonly client: ApiClient;
  readonly settings: SettingsOf<ClientTable & Table>;
  readonly operands: readonly string[];
  readonly io: CommandIo;
  /** Prints the value in the form that was asked for; `render` makes the text for people. */
  print(value: unknown, render: () => string): Promise<void>;
}

export interface ApiCommandSpec<Table extends SettingsTable> {
  /** As it is typed: `token create`. */
  readonly name: string;
  readonly describe: string;
  /** Operands and required flags, after the name. */
  readonly usage: string;
  /** What it does, and examples; a paragraph or more. */
  readonly about: string;
  /** Policy at the broker, and what lets a Kubernetes identity do it; `own`: whoever has a credential. */
  readonly needs: 'own' | { readonly policy: string; readonly kube: string };
  readonly operands?: { readonly min: number; readonly max: number };
  readonly table: Table;
  /** Turns what was typed into what the table understands. */
  readonly prepare?: (args: readonly string[]) => readonly string[];
  /** What is wrong beyond single flags. */
  readonly findProblems?: (
    settings: Partial<SettingsOf<Table>>,
    operands: readonly string[],
  ) => readonly string[];
  /** Resolves to the exit code, 0 where it says nothing. */
  readonly run: (context: ApiContext<Table>) => Promise<number | undefined>;
}

const EXIT_FAILED = 1;

export function defineApiCommand<const Table extends SettingsTable>(
  spec: ApiCommandSpec<Table>,
): Command {
  return {
    describe: spec.describe,
    help: () => renderHelp(spec),
    run: async (args, io) => {
      try {
        return (await runApiCommand(spec, args, io)) ?? 0;
      } catch (error) {
        if (!(error instanceof SettingsError) && !(error instanceof ApiFailure)) throw error;
        io.stderr(`coatcheck ${spec.name}: ${error.message}\n`);
        return error instanceof SettingsError ? EXIT_BAD_SETTINGS : EXIT_FAILED;
      }
    },
  };
}

function renderHelp({
  name,
  usage,
  about,
  needs,
  table,
}: Pick<ApiCommandSpec<SettingsTable>, 'name' | 'usage' | 'about' | 'needs' | 'table'>): string {
  return `coatcheck ${[name, usage, '[flags]'].filter((part) => part !== '').join(' ')}

${about.trim()}

${needs === 'own' ? 'Needs a credential that the broker knows.' : `Needs the policy ${needs.policy}, or the Kubernetes right to ${needs.kube}.`}
Exit codes: 0 done, 1 refused or failed, 2 used wrongly.

Flags
${describeFlags({ ...table, ...CLIENT_TABLE })}
`;
}

async function runApiCommand<Table extends SettingsTable>(
  spec: ApiCommandSpec<Table>,
  args: readonly string[],
  io: CommandIo,
): Promise<number | undefined> {
  // What stands on a command line every process of the machine can read, and the shell's history keeps.
  if (args.some((argument) => /^--token(=|$)/.test(argument)))
    throw new SettingsError(['a token is never an argument: --token-file names its file']);
  const table = { ...spec.table, ...CLIENT_TABLE } as ClientTable & Table;
  const { settings, operands } = readSettings(
    table,
    {
      args: joinLists(table, spec.prepare?.(args) ?? args),
      environment: pickVariables(table, io.environment),
    },
    (given) => findClientProblems(given as Partial<SettingsOf<ClientTable>>, io),
  );
  const problems: string[] = [];
  const { min, max } = spec.operands ?? { min: 0, max: 0 };
  if (operands.length < min || operands.length > max)
    problems.push(
      max === 0
        ? `coatcheck ${spec.name} takes flags only`
        : `it takes ${spec.usage || 'flags only'}`,
    );
  problems.push(...(spec.findProblems?.(settings, operands) ?? []));
  if (problems.length > 0) throw new SettingsError(problems);
  const shared = settings as SettingsOf<ClientTable>;
  const { needs } = spec;
  const ca = shared.caFile === undefined ? undefined : readText(shared.caFile, 'caFile');
  const client = createApiClient({
    server: shared.server,
    credential: await readCredential(shared.tokenFile, io),
    timeoutMs: shared.timeoutSeconds * 1000,
    ...(ca !== undefined && { ca }),
    ...(shared.tlsServerName !== undefined && { serverName: shared.tlsServerName }),
    ...(needs !== 'own' && {
      needs: `this needs the policy ${needs.policy}, or the Kubernetes right to ${needs.kube}`,
    }),
  });
  return spec.run({
    client,
    settings,
    operands,
    io,
    print: async (value, render) => io.stdout(await formatOutput(shared.output, value, render)),
  });
}

/** A shell may hold variables of other programs of ours; only the programs themselves are strict about them. */
function pickVariables(
  table: SettingsTable,
  environment: CommandIo['environment'],
): CommandIo['environment'] {
  const known = Object.entries(table)
    .filter(([, { flagOnly }]) => !flagOnly)
    .map(([name]) => [toVariable(name), environment[toVariable(name)]]);
  return Object.fromEntries(known);
}

/** `--policy a --policy b,c` is `--policy a,b,c`: a flag that is given twice must not lose its first value. */
function joinLists(table: SettingsTable, args: readonly string[]): readonly string[] {
  const flags = Object.entries(table)
    .filter(([, { kind }]) => kind === 'list')
    .map(([name]) => toFlag(name));
  const values = new Map<string, string[]>();
  const others: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? '';
    if (argument === '--') return [...toFlags(values), ...others, ...args.slice(i)];
    const flag = flags.find((one) => argument === one || argument.startsWith(`${one}=`));
    const next = args[i + 1];
    if (flag === undefined || (argument === flag && next === undefined)) {
      others.push(argument);
      continue;
    }
    const value = argument === flag ? (next ?? '') : argument.slice(flag.length + 1);
    if (argument === flag) i++;
    values.set(flag, [...(values.get(flag) ?? []), value]);
  }
  return [...toFlags(values), ...others];
}

function toFlags(values: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return [...values].map(([flag, all]) => `${flag}=${all.join(',')}`);
}

const VARIABLE_TOKEN = 'COATCHECK_TOKEN';
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

function findClientProblems(
  { server, tokenFile }: Partial<SettingsOf<ClientTable>>,
  io: CommandIo,
): readonly string[] {
  const problems: string[] = [];
  const parsed = server === undefined ? null : URL.parse(server);
  if (parsed?.protocol === 'http:' && !LOOPBACK.test(parsed.hostname))
    problems.push('--server must be https; plain http only to this machine');
  if (tokenFile === undefined && !io.environment[VARIABLE_TOKEN])
    problems.push(`--token-file (or ${toVariable('tokenFile')}) is required: the credential`);
  return problems;
}

/** The file wins over the variable, as a flag does; a token is never an argument, where every process could read it. */
async function readCredential(file: string | undefined, io: CommandIo): Promise<Secret> {
  const text =
    file === '-'
      ? await io.stdin()
      : file === undefined
        ? (io.environment[VARIABLE_TOKEN] ?? '')
        : readText(file, 'tokenFile');
  const token = text.trim();
  if (!/^[\x21-\x7e]{1,16384}$/.test(token))
    throw new SettingsError([
      `${file === undefined ? VARIABLE_TOKEN : '--token-file'} must hold one token and nothing else`,
    ]);
  return new Secret(token);
}

function readText(file: string, name: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingsError([
      `${toFlag(name)} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    ]);
  }
}
