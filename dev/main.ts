// `coatcheck dev`: the process. Checks its flags, starts the dev server, says where it is, ends on a signal.
import { randomUUID } from 'node:crypto';
import { destination } from 'pino';
import { systemClock, systemRandom } from '../common/clock.ts';
import type { Command, CommandIo } from '../common/command.ts';
import { createLogger } from '../common/log.ts';
import { EXIT_FAILURE, exitOnSignal } from '../common/process.ts';
import { describeFlags, EXIT_BAD_SETTINGS, SettingsError } from '../common/settings.ts';
import { ISSUER_PATH } from './issuer.ts';
import { DEMO_ROLES } from './roles.ts';
import { type RunningDev, startDev } from './server.ts';
import { DEV_SETTINGS, type DevSettings, readDevSettings } from './settings.ts';

const STANDARD_ERROR = 2;

export const command: Command = {
  describe: 'the broker and a local issuer on a laptop, over plain HTTP',
  help: () => `coatcheck dev [flags]

The real broker over plain HTTP, and beside it, under ${ISSUER_PATH}, a local issuer that answers like an API server:
TokenRequest, TokenReview, keys, and DELETE of a pod as its death. No cluster is needed, nothing is kept unless --store
says where; all keys say "dev". Prints one line when it is ready: coatcheck dev ready http://… The administrator's token
for the admin API and the commands at a broker is made at the start; standard error says in which file it is.

Flags
${describeFlags(DEV_SETTINGS)}

Try it (docs/dev.md has more)
  coatcheck dev &
  curl -s -H 'Content-Type: application/json' http://127.0.0.1:8420${ISSUER_PATH}/api/v1/namespaces/shop/serviceaccounts/checkout/token \\
    -d '{"spec":{"audiences":["payments"],"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"checkout-1"}}}'
`,
  run,
};

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  let settings: DevSettings;
  try {
    settings = readDevSettings(args, io.environment);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck dev: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
  const stream = destination({ fd: STANDARD_ERROR, sync: true });
  const log = createLogger({ level: 'info', process: 'dev', stream });
  const stopping = new AbortController();
  const starting = startDev({
    listen: settings.listen,
    rolesPath: settings.roles,
    receiversFile: settings.receivers,
    store: settings.store,
    bootstrapToken: settings.bootstrapToken,
    clock: systemClock,
    random: systemRandom,
    log,
    auditStream: stream,
    newId: randomUUID,
    startSignal: stopping.signal,
  });
  // Before the line that invites to stop it again, and while it waits for its database.
  exitOnSignal(log, async () => {
    stopping.abort(new Error('it was stopped'));
    const running = await starting.catch(() => undefined);
    await running?.stop();
  });
  let dev: RunningDev;
  try {
    dev = await starting;
  } catch (error) {
    io.stderr(`coatcheck dev: could not start: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
  if (settings.insecureListen) {
    log.warn(
      'listening where others may reach it, as asked: anybody who does gets any token it can issue',
    );
  }
  if (settings.roles === undefined) {
    io.stderr(`No --roles given; these two are granted:\n\n${DEMO_ROLES}\n`);
  }
  if (dev.tokenFile !== undefined) io.stderr(toShellLine(dev.url, dev.tokenFile));
  io.stdout(`coatcheck dev ready ${dev.url}\n`);
  return 0;
}

function toShellLine(url: string, tokenFile: string): string {
  return `You are the administrator. For the commands at a broker, in another shell:\n\n  export COATCHECK_SERVER=${url} COATCHECK_TOKEN_FILE=${tokenFile}\n\n`;
}
