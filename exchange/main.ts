// The exchange program: builds everything and runs one mode. Exit codes: 0 done (or ended by SIGTERM while
// refreshing), 1 failed, 2 bad settings. The reason of a 1 or a 2 is in the termination message.
import { type Clock, systemClock, systemRandom } from '../common/clock.ts';
import { PATH_TOKEN } from '../common/protocol/oauth.ts';
import { describeFlags, EXIT_BAD_SETTINGS, SettingsError, toVariable } from '../common/settings.ts';
import { createDialer } from './dial.ts';
import { Exchanger } from './exchange.ts';
import { findBundle } from './file.ts';
import { createLog, type Log, writeStdout } from './log.ts';
import { EXIT_FAILED, EXIT_OK, init, type Program, refresh } from './modes.ts';
import { findMissing } from './probe.ts';
import { EXCHANGE_SETTINGS, type ExchangeSettings, readExchangeSettings } from './settings.ts';
import { writeTermination } from './termination.ts';
import { createTransport } from './transport.ts';
import { createTrust, parseBundle, type Trust } from './trust.ts';

const DEFAULT_TERMINATION_LOG = '/dev/termination-log';

/** Counts from the start of the process; setting the system's clock does not move it. */
const uptimeClock: Clock = { now: () => performance.now(), sleep: systemClock.sleep };

/**
 * Runs the exchange to its end and resolves to the exit code; the caller exits with it at once.
 * @param args after the subcommand.
 */
export async function main(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  if (args.includes('--help')) {
    writeStdout(`${helpText()}\n`);
    return EXIT_OK;
  }
  let settings: ExchangeSettings;
  try {
    settings = readExchangeSettings({ args, environment });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const message = `coatcheck exchange: ${error.message}`;
    writeStdout(`${message}\n`);
    // The probe shares the container's termination message, and has nothing to say in it.
    if (!args.includes('--check')) {
      writeTermination(
        environment[toVariable('terminationLog')] || DEFAULT_TERMINATION_LOG,
        message,
      );
    }
    return EXIT_BAD_SETTINGS;
  }
  if (settings.check) return check(settings);
  return run(settings);
}

/** What the CLI's table takes (common/command.ts). */
export const command = {
  describe: 'the injected container: ServiceAccount token in, client token file out',
  help: () => `${helpText()}\n`,
  run: (
    args: readonly string[],
    { environment }: { environment: Readonly<Record<string, string | undefined>> },
  ) => main(args, environment),
};

/** The text of `coatcheck exchange --help`. */
function helpText(): string {
  return [
    'coatcheck exchange: swaps the ServiceAccount tokens of a pod for client tokens and writes them into files.',
    'The webhook puts it into pods; its settings come as variables from there. docs/exchange.md has the rest.',
    '',
    describeFlags(EXCHANGE_SETTINGS),
    '',
    'Exit codes: 0 done, 1 failed (the reason is the termination message), 2 bad settings.',
  ].join('\n');
}

function check(settings: ExchangeSettings): number {
  const missing = findMissing(settings.tokensDir, settings.audiences, systemClock.now());
  if (missing.length > 0) writeStdout(`${missing.join('; ')}\n`);
  return missing.length > 0 ? EXIT_FAILED : EXIT_OK;
}

async function run(settings: ExchangeSettings): Promise<number> {
  const log = createLog({ format: settings.logFormat, clock: systemClock, write: writeStdout });
  const end = new AbortController();
  const ending = listenForEnd(settings.mode, log);
  const url = new URL(settings.brokerUrl + PATH_TOKEN);
  const trust = findTrust(settings, log);
  log.info('exchange started', {
    mode: settings.mode,
    broker: settings.brokerUrl,
    audiences: settings.audiences.length,
    deadline: `${settings.deadlineSeconds}s`,
    ca_sha256: trust.digest,
  });
  const dial = createDialer({
    transport: await createTransport(),
    url,
    fallback: settings.brokerFallbackAddress,
    tryTimeoutMs: settings.tryTimeoutSeconds * 1000,
    log,
  });
  const exchanger = new Exchanger({
    dial,
    identityDir: settings.identityDir,
    trust,
    canAdopt: trust.bundle !== undefined && url.protocol === 'https:',
    clock: systemClock,
    log,
  });
  const program: Program = {
    settings,
    exchanger,
    log,
    clock: systemClock,
    uptime: uptimeClock,
    random: systemRandom,
    signal: end.signal,
  };
  const running = settings.mode === 'init' ? init(program) : refresh(program);
  try {
    return await Promise.race([ending, running]);
  } finally {
    end.abort();
  }
}

/** SIGTERM while refreshing is the pod's ordinary end. During the first exchange it must not look like success. */
function listenForEnd(mode: ExchangeSettings['mode'], log: Log): Promise<number> {
  return new Promise((resolve) => {
    const end = (signal: NodeJS.Signals) => {
      log.info('stopped by a signal', { signal });
      resolve(mode === 'refresh' ? EXIT_OK : EXIT_FAILED);
    };
    // Process 1 of a container gets no default action for these.
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
  });
}

/**
 * A bundle given as text never changes for this pod, so the one that lies beside the tokens is newer: an earlier run of
 * this container, or the init container before it, had it from the broker. A file is the operator's to keep current.
 */
function findTrust({ brokerCa, brokerCaFile, tokensDir }: ExchangeSettings, log: Log): Trust {
  const stored = brokerCa === undefined ? undefined : findBundle(tokensDir);
  if (stored === undefined || stored === brokerCa) return createTrust(brokerCa ?? brokerCaFile);
  try {
    parseBundle(stored);
    return createTrust(stored);
  } catch {
    log.warn('the CA bundle beside the tokens is unusable; using the configured one');
    return createTrust(brokerCa);
  }
}
