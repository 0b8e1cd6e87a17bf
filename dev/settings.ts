// The settings of `coatcheck dev`: flags, and one variable for the bootstrap token. It reads no others: a laptop's shell
// may carry those of a real broker.
import { parseStoreChoice, type StoreChoice } from '../broker/store/open.ts';
import { Secret } from '../common/secret.ts';
import {
  flag,
  formatAddress,
  type ListenAddress,
  listenAddress,
  optional,
  path,
  readSettings,
  type Setting,
  SettingsError,
  type SettingsOf,
  toVariable,
} from '../common/settings.ts';
import { findPathProblems, readBootstrap, readStore } from './files.ts';
import { isLoopback } from './host.ts';

const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 8420 };

export const DEV_SETTINGS = {
  listen: listenAddress({
    default: DEFAULT_LISTEN,
    defaultText: formatAddress(DEFAULT_LISTEN),
    flagOnly: true,
    doc: 'Address of the one plain HTTP port; port 0 lets the system choose',
  }),
  roles: optional(
    path({
      flagOnly: true,
      doc: 'Folder of role files, reloaded as they change; two demo roles without it',
    }),
  ),
  store: optional(
    flagWith('none|sqlite:PATH|postgres://…', parseStoreChoice, {
      doc: 'Where state is kept; a database that is gone at the end unless set. Never that of a real broker',
    }),
  ),
  storeFile: optional(
    path({
      flagOnly: true,
      doc: 'File that holds what --store would say, where that has a password; instead of it',
    }),
  ),
  bootstrapToken: optional<Secret>({
    kind: 'text',
    doc: "The administrator's token. As a flag it is in the process list: the variable or the file is better, or none: then one is made",
    parse: (value) => new Secret(value),
  }),
  bootstrapTokenFile: optional(
    path({ flagOnly: true, doc: "File with the administrator's token; instead of it" }),
  ),
  receivers: optional(
    path({
      flagOnly: true,
      doc: 'File that says who may introspect what, reloaded as it changes; whoever proves an identity may ask about everything without it',
    }),
  ),
  insecureListen: flag({
    default: false,
    flagOnly: true,
    doc: 'Allow an address that others can reach: whoever reaches it gets any token it can issue',
  }),
};

/** `temporary`: of sqlite, and gone at the end. */
export type DevStore = StoreChoice | { readonly kind: 'temporary' };

export type DevSettings = Pick<
  SettingsOf<typeof DEV_SETTINGS>,
  'listen' | 'roles' | 'receivers' | 'insecureListen' | 'bootstrapToken'
> & { readonly store: DevStore };

/**
 * @param environment nothing of it is read but the bootstrap token
 * @throws SettingsError with every problem at once.
 */
export function readDevSettings(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = {},
): DevSettings {
  const variable = toVariable('bootstrapToken');
  const token = environment[variable];
  let store: DevStore = { kind: 'temporary' };
  let bootstrapToken: Secret | undefined;
  const source = { args, ...(token !== undefined && { environment: { [variable]: token } }) };
  const { settings, operands } = readSettings(DEV_SETTINGS, source, (given) => [
    ...findPathProblems(given),
    ...attempt(() => {
      store = readStore(given) ?? store;
    }),
    ...attempt(() => {
      bootstrapToken = readBootstrap(given, store);
    }),
  ]);
  const problems = findListenProblems(settings.listen, settings.insecureListen);
  if (operands.length > 0) problems.push('coatcheck dev takes flags only');
  if (problems.length > 0) throw new SettingsError(problems);
  const { listen, roles, receivers, insecureListen } = settings;
  return { listen, roles, receivers, insecureListen, store, bootstrapToken };
}

function findListenProblems(listen: ListenAddress, isAllowed: boolean): string[] {
  if (isAllowed || isLoopback(listen.host)) return [];
  return [
    '--listen must be a loopback address (127.0.0.1, ::1, localhost): the local issuer gives anybody a token for any ServiceAccount; --insecure-listen allows others all the same',
  ];
}

function attempt(read: () => void): string[] {
  try {
    read();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

function flagWith<T>(
  kind: string,
  parse: (text: string) => T,
  { doc }: { doc: string },
): Setting<T> {
  return { kind, doc, parse, flagOnly: true };
}
