// `coatcheck controller`: the process. Reads the settings, watches pods and ServiceAccounts, acts while it holds the Lease,
// gives it back. The only place of this program that builds things.
import { randomUUID } from 'node:crypto';
import { type Clock, type Random, systemClock, systemRandom } from '../common/clock.ts';
import type { Command, CommandIo } from '../common/command.ts';
import { listenOperations } from '../common/http.ts';
import { createKubeClient, type KubeClient } from '../common/kube/client.ts';
import { type Collection, createCollection } from '../common/kube/collection.ts';
import { createLogger, type Logger } from '../common/log.ts';
import { EXIT_FAILURE, exitOnSignal } from '../common/process.ts';
import { describeFlags, EXIT_BAD_SETTINGS, SettingsError } from '../common/settings.ts';
import { createBrokerClient } from './broker-client.ts';
import { PODS_PATH, SERVICE_ACCOUNTS_PATH, takeCensus } from './census.ts';
import { openKeeper } from './certificates/open.ts';
import { findDeadAccounts, findDeadPods } from './deaths.ts';
import { createEventRecorder } from './events.ts';
import type { KeyPusher } from './keys.ts';
import { openKeyPusher } from './keys-setup.ts';
import { createLease } from './lease.ts';
import { type ControllerMetrics, createMetrics } from './metrics.ts';
import { createMissedMetrics } from './missed-metrics.ts';
import { createMissedWatch, type MissedWatch } from './missed-watch.ts';
import {
  createPodTrimmer,
  type TrackedPod,
  type TrackedServiceAccount,
  toTrackedServiceAccount,
} from './pods.ts';
import { createReplicaFinder, type FindReplicas } from './replicas.ts';
import { createReporter, type Reporter } from './reporter.ts';
import {
  CONTROLLER_SETTINGS,
  type ControllerSettings,
  readControllerSettings,
} from './settings.ts';

export interface ControllerDeps {
  readonly settings: ControllerSettings;
  readonly clock: Clock;
  /** Its time is never put back. */
  readonly steadyClock: Clock;
  readonly random: Random;
  readonly newId: () => string;
  readonly log: Logger;
}

export interface RunningController {
  /** `http://…`, where `/readyz` is. */
  readonly operationsUrl: string;
  isLeading(): boolean;
  /** Ends what is under way, gives the Lease back. */
  stop(): Promise<void>;
}

/** Starts the controller; resolves when its operations port answers. */
export async function startController(deps: ControllerDeps): Promise<RunningController> {
  const { settings, clock, log } = deps;
  const metrics = createMetrics();
  const { apiServerUrl: url, apiServerCaFile: caFile, apiServerTokenFile: tokenFile } = settings;
  const client = createKubeClient({ url, caFile, tokenFile });
  const findReplicas = createReplicaFinder(settings.brokerUrl, settings.brokersService);
  const missedMetrics = createMissedMetrics(metrics.registry);
  const steadily = { client, clock: deps.steadyClock, log };
  const events = createEventRecorder({
    ...steadily,
    wallClock: clock,
    instance: settings.identity,
    onOutcome: missedMetrics.countEvent,
  });
  const { registry } = metrics;
  const keys = openKeyPusher({ ...deps, client, findReplicas, events, registry });
  const reporter = createOurReporter(deps, { client, metrics, findReplicas, keys });
  const missed = createMissedWatch({ ...steadily, settings, events, metrics: missedMetrics });
  const keeper = openKeeper({ ...steadily, settings, events, registry, wallClock: clock });
  const { pods, accounts } = createCollections(deps, {
    ...{ client, reporter, missed },
    onList: startLease,
  });
  const lease = createLease({
    ...{ client, log, random: deps.random, clock: deps.steadyClock, wallClock: clock },
    namespace: settings.namespace,
    name: settings.leaseName,
    identity: `${settings.identity}_${deps.newId()}`,
    lead: async (signal) => {
      const recording = events.lead(signal);
      const keeping = keeper?.lead(signal);
      // Our own requests verify the broker by what it writes.
      await keeping?.prepared;
      await Promise.all([
        recording,
        keeping?.ended,
        reporter.lead(signal),
        keys?.lead(signal),
        missed.lead(signal),
      ]);
    },
  });
  metrics.follow({
    isLeading: lease.isHeld,
    countPods: () => pods.items.size,
    countServiceAccounts: () => accounts.items.size,
    isWatching: (name) => isWatching(name === 'pods' ? pods : accounts),
    countQueued: reporter.countQueued,
    findSetAge: () => {
      const takenAt = reporter.findSetTime();
      return lease.isHeld() && takenAt !== undefined ? (clock.now() - takenAt) / 1000 : undefined;
    },
  });
  let isStopping = false;
  let isStarted = false;
  const operations = await listenOperations({
    address: settings.operationsListen,
    findObstacles: () => [
      ...(isStopping ? ['the process is stopping'] : []),
      ...(pods.isLoaded() ? [] : ['pods are not listed yet']),
      ...(accounts.isLoaded() ? [] : ['ServiceAccounts are not listed yet']),
    ],
    renderMetrics: async () => ({
      contentType: metrics.registry.contentType,
      body: await metrics.registry.metrics(),
    }),
  });
  pods.start();
  accounts.start();
  const stopping = new AbortController();
  const watching = keys?.watchTokens(stopping.signal);
  return {
    operationsUrl: operations.url,
    isLeading: lease.isHeld,
    stop: async () => {
      isStopping = true;
      stopping.abort();
      await lease.stop();
      await watching;
      await Promise.all([pods.stop(), accounts.stop()]);
      client.close();
      await operations.drain(0);
    },
  };

  // Not before everything is known once: whoever acts must see who dies from its first moment on.
  function startLease(): void {
    if (isStarted || isStopping || !pods.isLoaded() || !accounts.isLoaded()) return;
    isStarted = true;
    missed.begin(pods.items.values());
    lease.start();
  }
}

interface Around {
  readonly client: KubeClient;
  readonly metrics: ControllerMetrics;
  readonly findReplicas: FindReplicas;
}

function toBroker({
  brokerUrl: url,
  brokerCaFile: caFile,
  cluster,
  tokenFile,
}: ControllerSettings) {
  return { url, caFile, cluster, tokenFile };
}

function createOurReporter(
  { settings, clock, random, log }: ControllerDeps,
  { client, metrics, findReplicas, keys }: Around & { readonly keys: KeyPusher | undefined },
): Reporter {
  const onUnauthorized = () => keys?.hurry();
  return createReporter({
    findReplicas,
    createClient: (address) =>
      createBrokerClient({ ...toBroker(settings), address, onUnauthorized }),
    takeCensus: (signal) => takeCensus({ client, clock, signal }),
    liveSetSeconds: settings.liveSetSeconds,
    metrics,
    clock,
    random,
    log,
  });
}

interface Watched {
  readonly pods: Collection<TrackedPod>;
  readonly accounts: Collection<TrackedServiceAccount>;
}

function createCollections(
  { settings, clock, random, log }: ControllerDeps,
  around: { client: KubeClient; reporter: Reporter; missed: MissedWatch; onList: () => void },
): Watched {
  const { client, reporter, missed, onList: onChange } = around;
  const shared = { client, clock, random, log, onChange, onRelist: () => reporter.takeSets() };
  return {
    pods: createCollection({
      ...shared,
      path: PODS_PATH,
      toItem: createPodTrimmer(settings.prefix),
      onItem: (change) => {
        reporter.report('Pod', findDeadPods(change));
        missed.apply(change);
      },
    }),
    accounts: createCollection({
      ...shared,
      path: SERVICE_ACCOUNTS_PATH,
      toItem: toTrackedServiceAccount,
      metadataOnly: true,
      onItem: (change) => reporter.report('ServiceAccount', findDeadAccounts(change)),
    }),
  };
}

function isWatching(collection: Watched[keyof Watched]): boolean {
  return collection.isLoaded() && collection.findTrouble() === undefined;
}

/** Starts the process; resolves when it listens (it then stays), or with the exit code of what is wrong. */
async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const settings = readControllerSettings({ args, environment: io.environment });
    const log = createLogger({ level: settings.logLevel, process: 'controller' });
    const controller = await startController({
      settings,
      clock: systemClock,
      steadyClock: { now: () => performance.now(), sleep: systemClock.sleep },
      random: systemRandom,
      newId: randomUUID,
      log,
    });
    exitOnSignal(log, () => controller.stop());
    log.info({ operationsUrl: controller.operationsUrl }, 'controller is watching');
    return 0;
  } catch (error) {
    if (error instanceof SettingsError) {
      io.stderr(`coatcheck controller: ${error.message}\n`);
      return EXIT_BAD_SETTINGS;
    }
    io.stderr(`coatcheck controller: could not start: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
}

export const command: Command = {
  describe: "the cluster's side: tells the brokers which pods and ServiceAccounts are dead",
  help: () => `coatcheck controller [flags]

Watches the pods and ServiceAccounts of its cluster and tells every replica of the broker who died, and now and then who
lives, so that the tokens of the dead are dead. Several may run; one acts, the one that holds the Lease.

Flags
${describeFlags(CONTROLLER_SETTINGS)}
`,
  run,
};
