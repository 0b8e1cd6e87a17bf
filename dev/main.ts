// `coatcheck dev`: the process. Checks its flags, starts the dev server, says where it is, ends on a signal.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { destination } from 'pino';
import { systemClock } from '../common/clock.ts';
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
TokenRequest, TokenReview, keys, and DELETE of a pod as its death. No cluster is needed, nothing is kept; all keys are
made at the start and say "dev". Prints one line when it is ready: coatcheck dev ready http://…

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
    settings = readDevSettings(args);
    if (settings.roles !== undefined && !existsSync(settings.roles)) {
      throw new SettingsError([
        '--roles must be a folder of role files, or one; there is nothing at that path',
      ]);
    }
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck dev: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
  const stream = destination({ fd: STANDARD_ERROR, sync: true });
  const log = createLogger({ level: 'info', process: 'dev', stream });
  let dev: RunningDev;
  try {
    dev = await startDev({
      listen: settings.listen,
      rolesPath: settings.roles,
      clock: systemClock,
      log,
      auditStream: stream,
      newId: randomUUID,
    });
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
  // Before the line that invites to stop it again.
  exitOnSignal(log, () => dev.stop());
  io.stdout(`coatcheck dev ready ${dev.url}\n`);
  return 0;
}
