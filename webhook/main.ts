// The webhook process: reads settings and files, builds the server, keeps its files fresh, ends gracefully. The only place
// of this program that builds things.
import { type Clock, systemClock } from '../common/clock.ts';
import type { Command, CommandIo } from '../common/command.ts';
import { listen, listenOperations, type RunningServer } from '../common/http.ts';
import { createLogger, type Logger } from '../common/log.ts';
import { exitOnSignal } from '../common/process.ts';
import { describeFlags, EXIT_BAD_SETTINGS, SettingsError } from '../common/settings.ts';
import { type Files, type FileWatch, findCertificateEnd, readFiles, watchFiles } from './files.ts';
import { prepareInjection } from './inject.ts';
import { createMetrics } from './metrics.ts';
import { review } from './review.ts';
import { createHandler, toText } from './server.ts';
import {
  readWebhookSettings,
  toInjectSettings,
  WEBHOOK_TABLE,
  type WebhookSettings,
} from './settings.ts';
import { warmUp } from './warm-up.ts';

export interface WebhookDeps {
  readonly settings: WebhookSettings;
  readonly log: Logger;
  readonly clock: Clock;
  /** How long to warm up before listening; not at all unless given. */
  readonly warmUpMs?: number;
}

// Most of what can be won in this time is; together with the rest of the start it stays below a second.
const WARM_UP_MS = 400;

export interface RunningWebhook {
  /** `https://…`, where `/mutate` is. */
  readonly url: string;
  /** `http://…`, where `/readyz` is. */
  readonly operationsUrl: string;
  readonly files: FileWatch;
  /** Stops accepting, lets requests in flight end, closes. */
  stop(): Promise<void>;
}

/**
 * Starts the webhook; resolves when it answers.
 * @throws SettingsError where a file is missing or unusable, or an error of the system where a port is taken.
 */
export async function startWebhook({
  settings,
  log,
  clock,
  warmUpMs = 0,
}: WebhookDeps): Promise<RunningWebhook> {
  const metrics = createMetrics();
  const initial = await readFiles(settings);
  const prepare = (brokerCa: string | undefined) => {
    const injectSettings = toInjectSettings(settings, brokerCa);
    const decide = prepareInjection(injectSettings);
    return (body: Uint8Array) => review(body, injectSettings, decide);
  };
  let answer = prepare(initial.brokerCa);
  // A measurement of time that passes: a Clock may be put back meanwhile.
  const now = () => performance.now();
  const { prefix } = settings;
  warmUp((body) => toText(answer(body).body), { prefix, milliseconds: warmUpMs, now });
  let isStopping = false;
  const handler = createHandler({
    review: (body) => answer(body),
    metrics,
    log,
  });
  const server = await listen(handler, { address: settings.listen, tls: toTls(initial) });
  const operations = await listenOperations({
    address: settings.operationsListen,
    findObstacles: () => (isStopping ? ['the process is stopping'] : []),
    renderMetrics: async () => ({
      contentType: metrics.registry.contentType,
      body: await metrics.registry.metrics(),
    }),
  }).catch(async (error: unknown) => {
    await server.drain(0);
    throw error;
  });
  metrics.setCertificateEnd(findCertificateEnd(initial.cert));
  const files = watchFiles({
    settings,
    initial,
    metrics,
    log,
    clock,
    onChange: (next) => {
      answer = prepare(next.brokerCa);
      server.reloadCertificate(toTls(next));
      metrics.setCertificateEnd(findCertificateEnd(next.cert));
    },
  });
  return {
    url: server.url,
    operationsUrl: operations.url,
    files,
    stop: () => {
      isStopping = true;
      files.stop();
      return stopBoth({ server, operations, graceMs: settings.drainSeconds * 1000 });
    },
  };
}

async function stopBoth(running: {
  server: RunningServer;
  operations: RunningServer;
  graceMs: number;
}): Promise<void> {
  await running.server.drain(running.graceMs);
  await running.operations.drain(0);
}

function toTls({ cert, key, clientCa }: Files): { cert: string; key: string; clientCa?: string } {
  return { cert, key, ...(clientCa !== undefined && { clientCa }) };
}

/** Starts the process; resolves when it answers (it then stays), or with the exit code of what is wrong. */
async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const settings = readWebhookSettings({ args, environment: io.environment });
    const log = createLogger({ level: settings.logLevel, process: 'webhook' });
    const webhook = await startWebhook({ settings, log, clock: systemClock, warmUpMs: WARM_UP_MS });
    exitOnSignal(log, () => webhook.stop());
    // Last: whoever waits for this line may send a signal at once.
    log.info({ url: webhook.url, operationsUrl: webhook.operationsUrl }, 'webhook ready');
    return 0;
  } catch (error) {
    if (error instanceof SettingsError) {
      io.stderr(`coatcheck webhook: ${error.message}\n`);
      return EXIT_BAD_SETTINGS;
    }
    io.stderr(`coatcheck webhook: could not start: ${(error as Error).message}\n`);
    return 1;
  }
}

export const command: Command = {
  describe: 'the mutating admission webhook: annotated pod in, patch out',
  help: () => `coatcheck webhook [flags]

Answers AdmissionReviews at POST /mutate over TLS. It talks to nobody and needs no rights in the cluster.

Flags
${describeFlags(WEBHOOK_TABLE)}
`,
  run,
};
