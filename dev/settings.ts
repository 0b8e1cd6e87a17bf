// The settings of `coatcheck dev`. It reads no variables: a laptop's shell may carry those of a real broker.
import {
  flag,
  formatAddress,
  type ListenAddress,
  listenAddress,
  optional,
  path,
  readSettings,
  SettingsError,
  type SettingsOf,
} from '../common/settings.ts';
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
  insecureListen: flag({
    default: false,
    flagOnly: true,
    doc: 'Allow an address that others can reach: whoever reaches it gets any token it can issue',
  }),
};

export type DevSettings = SettingsOf<typeof DEV_SETTINGS>;

/** @throws SettingsError with every problem at once. */
export function readDevSettings(args: readonly string[]): DevSettings {
  const { settings, operands } = readSettings(DEV_SETTINGS, { args });
  const problems: string[] = [];
  if (operands.length > 0) problems.push('coatcheck dev takes flags only');
  if (!isLoopback(settings.listen.host) && !settings.insecureListen) {
    problems.push(
      '--listen must be a loopback address (127.0.0.1, ::1, localhost): the local issuer gives anybody a token for any ServiceAccount; --insecure-listen allows others all the same',
    );
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}
