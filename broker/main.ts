// `coatcheck broker`: the process. Reads the configuration, builds the broker, listens, reloads what rotates, drains.
import { randomUUID } from 'node:crypto';
import { type Clock, type Random, systemClock, systemRandom } from '../common/clock.ts';
import type { Command, CommandIo } from '../common/command.ts';
import { listen, listenOperations, type RunningServer } from '../common/http.ts';
import { createLogger, type Logger } from '../common/log.ts';
import { openOutput } from '../common/output.ts';
import { EXIT_FAILURE, exitOnSignal } from '../common/process.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  type ListenAddress,
  SettingsError,
} from '../common/settings.ts';
import type { TlsMaterial } from '../common/tls-files.ts';
import { startTracing, type Tracing } from '../common/tracing.ts';
import type { AuditStream } from './audit.ts';
import { type Broker, type BrokerOptions, createBroker } from './broker.ts';
import { readCaBundle } from './ca-bundle.ts';
import { type Configuration, readConfiguration } from './configuration.ts';
import { createConnectionLimit } from './connections.ts';
import { type Cluster, withController } from './identity/clusters.ts';
import { findOwnApiServer } from './kube/own-api-server.ts';
import { parseNetworks } from './peer.ts';
import { createReloads } from './reload.ts';
import { BROKER_SETTINGS, type BrokerSettings } from './settings.ts';
import { createSigning } from './signing.ts';
import { openStore, type StoreChoice } from './store/open.ts';
import type { Store } from './store/store.ts';
import { traceStore } from './tracing.ts';

export const command: Command = {
  describe: 'validates ServiceAccount tokens, decides by roles, issues client tokens',
  help: () => `coatcheck broker [flags]

Serves the token endpoint (RFC 8693), the JWKS and the discovery documents, and on a port of its own /livez, /readyz
and /metrics. Clusters are a file (docs/clusters.md), roles are files (docs/roles.md), signing keys are a folder, or sealed
in the store (docs/keys.md):

  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out keys/2026-11.pem

Log lines and audit records (those with "kind":"decision") go to standard output as JSON.

Flags
${describeFlags(BROKER_SETTINGS)}
`,
  run,
};

/**
 * Resolves to 0 once the broker listens (it goes on until a signal), to 2 where the configuration is wrong, to 1 where a
 * port cannot be had.
 */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  let configuration: Configuration;
  try {
    configuration = readConfiguration({ args, environment: io.environment }, systemClock);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck broker: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
  const output = openOutput(1);
  const log = createLogger({
    level: configuration.settings.logLevel,
    process: 'broker',
    stream: output,
  });
  const stopping = new AbortController();
  const starting = startFromConfiguration(configuration, {
    clock: systemClock,
    random: systemRandom,
    startSignal: stopping.signal,
    log,
    auditStream: output,
    newId: randomUUID,
    environment: io.environment,
  });
  // From now on: fetching keys may take seconds, and the first process of a container ignores a signal it does not handle.
  exitOnSignal(log, async () => {
    stopping.abort(new Error('it was stopped'));
    // A start that was given up has closed what it had opened.
    const running = await starting.catch(() => undefined);
    await running?.stop();
  });
  try {
    const { url, operationsUrl } = await starting;
    log.info({ url, operationsUrl }, 'broker is listening');
    return 0;
  } catch (error) {
    io.stderr(`coatcheck broker: could not start: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
}

interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  /** Ends a start that waits for its store. */
  readonly startSignal: AbortSignal;
  readonly log: Logger;
  readonly auditStream: AuditStream;
  readonly newId: () => string;
  /** For OpenTelemetry's own variables. */
  readonly environment: CommandIo['environment'];
}

async function startFromConfiguration(
  configuration: Configuration,
  around: Surroundings,
): Promise<RunningBroker> {
  const { settings, tls, receivers } = configuration;
  const toTable = (table: readonly Cluster[]) => withController(table, settings.controllerIdentity);
  const clusters = toTable(configuration.clusters.current());
  const tracing = await startTracing({ ...around, service: 'coatcheck-broker' });
  const store = await findStore(configuration, around, tracing);
  const { keys: folder, sealing } = configuration;
  const signing = createSigning({ folder, sealing, settings, store, ...around });
  let { caBundle } = configuration;
  if (settings.insecurePlainHttp)
    around.log.warn('serving without TLS, as configured: tokens cross the network in the clear');
  const reloads = createReloads(around);
  const ownApiServer = findOwnApiServer(settings, clusters);
  const running = await startBroker({
    ...around,
    tracing,
    issuer: settings.issuer,
    clusters,
    allowsPrivateClusterAddresses: settings.allowPrivateClusterAddresses,
    ...signing.options,
    rolesPath: settings.rolesPath,
    ...(ownApiServer && { ownApiServer: { ...ownApiServer, random: around.random } }),
    roleLimits: {
      allowBrokerPolicies: settings.allowBrokerPolicies,
      allowClaims: settings.allowExtraClaims,
      reservedAudiences: settings.reservedAudiences,
    },
    maxTokenTtlSeconds: settings.maxTokenTtlSeconds,
    maxTokensPerIdentity: settings.maxTokensPerIdentity,
    sourceRefusalsPerSecond: settings.sourceRefusalsPerSecond,
    identityRequestsPerSecond: settings.identityRequestsPerSecond,
    trustedProxies:
      settings.trustedProxies.length > 0 ? parseNetworks(settings.trustedProxies) : undefined,
    maxStaticTokenTtlSeconds: settings.maxStaticTokenTtlSeconds,
    liveReportAlarmSeconds: settings.liveReportAlarmSeconds,
    ...toBootstrap(configuration),
    ...(store && { store }),
    storeAwaySeconds: settings.storeAwaySeconds,
    formerIssuers: settings.formerIssuers,
    findReceivers: () => receivers?.current(),
    findCaBundle: () => caBundle,
    findCertificateNotAfter: () => tls && tls.current.notAfter / 1000,
    withProcessMetrics: true,
    listen: settings.listen,
    operationsListen: settings.operationsListen,
    ...(settings.adminListen && { adminListen: settings.adminListen }),
    drainSeconds: settings.drainSeconds,
    maxConnections: settings.maxConnections,
    ...(tls && { tls: tls.current }),
  });
  const { metrics } = running.broker;
  signing.addReloads(reloads);
  if (tls) {
    reloads.add('tls', () => {
      const next = tls.reload();
      if (next) running.reloadCertificate(next);
      return [];
    });
  }
  reloads.add('clusters', () => {
    configuration.clusters.reload((table) => running.broker.replaceClusters(toTable(table)));
    return [];
  });
  const { caBundleFile } = settings;
  if (caBundleFile !== undefined) {
    reloads.add('caBundle', () => {
      caBundle = readCaBundle(caBundleFile);
      return [];
    });
  }
  if (receivers) {
    reloads.add('receivers', () => {
      receivers.reload();
      return [];
    });
  }
  reloads.start(metrics.countReloadFailure);
  return {
    ...running,
    stop: async () => {
      await Promise.all([running.stop(), reloads.stop()]);
      await tracing.stop();
    },
  };
}

/** What it is opened with stays out of the log: a URL holds a password. */
async function findStore(
  { settings, store }: { settings: BrokerSettings; store: StoreChoice },
  around: Surroundings,
  tracing: Tracing,
): Promise<Store | undefined> {
  if (store.kind === 'none') return undefined;
  const { keepDecisionsSeconds, maxDecisions } = settings;
  const opened = await openStore(store, { ...around, keepDecisionsSeconds, maxDecisions });
  return traceStore(opened, tracing);
}

function toBootstrap({
  settings,
  bootstrapToken: token,
}: Configuration): Pick<BrokerOptions, 'bootstrap'> {
  return token ? { bootstrap: { token, ttlSeconds: settings.bootstrapTtlSeconds } } : {};
}

export interface StartOptions extends BrokerOptions {
  readonly listen: ListenAddress;
  /** The admin API is served there and nowhere else; absent: beside the other dialects. */
  readonly adminListen?: ListenAddress;
  readonly operationsListen: ListenAddress;
  /** Absent: plain HTTP. */
  readonly tls?: Pick<TlsMaterial, 'cert' | 'key'>;
  readonly drainSeconds: number;
  /** Open at once, of all listeners but that of operations; 0 or absent: no limit. */
  readonly maxConnections?: number;
}

export interface RunningBroker {
  readonly broker: Broker;
  readonly url: string;
  readonly operationsUrl: string;
  /** Where the admin API has a listener of its own. */
  readonly adminUrl?: string;
  reloadCertificate(tls: Pick<TlsMaterial, 'cert' | 'key'>): void;
  /** Not ready at once, requests in flight end, the audit trail is written out. */
  stop(): Promise<void>;
}

/** A broker with its two ports. `/livez` answers from the beginning, `/readyz` says 200 after the first reads. */
export async function startBroker(options: StartOptions): Promise<RunningBroker> {
  const { adminListen } = options;
  const broker = createBroker({ ...options, isAdminApart: adminListen !== undefined });
  let isDraining = false;
  let isStarted = false;
  const findObstacles = () => [
    ...(isDraining ? ['draining'] : []),
    ...(isStarted ? broker.findObstacles() : ['starting']),
  ];
  const operations = await listenOperations({
    address: options.operationsListen,
    findObstacles,
    renderMetrics: async () => ({
      contentType: broker.metrics.registry.contentType,
      body: await broker.metrics.registry.metrics(),
    }),
  });
  // Before anybody can connect: without its roles the broker would refuse those it is going to serve.
  await startOrClose(broker, operations);
  const servers = await listenOrClose(broker, { options, operations });
  const limitConnections = createConnectionLimit({
    max: options.maxConnections ?? 0,
    proxies: options.trustedProxies,
    onRefused: broker.metrics.countRefusedConnection,
  });
  for (const { server: listener } of servers) limitConnections(listener);
  const [server, admin] = servers;
  isStarted = true;
  return {
    broker,
    url: server.url,
    operationsUrl: operations.url,
    ...(admin && { adminUrl: admin.url }),
    reloadCertificate: (tls) => {
      for (const one of servers) one.reloadCertificate(tls);
    },
    stop: async () => {
      isDraining = true;
      await Promise.all(servers.map((one) => one.drain(options.drainSeconds * 1000)));
      await broker.stop();
      await operations.drain(0);
    },
  };
}

async function startOrClose(broker: Broker, operations: RunningServer): Promise<void> {
  try {
    await broker.start();
  } catch (error) {
    await Promise.all([broker.stop(), operations.drain(0)]);
    throw error;
  }
}

/** The main listener, and that of the admin API where it has one. */
async function listenOrClose(
  broker: Broker,
  { options, operations }: { options: StartOptions; operations: RunningServer },
): Promise<readonly [RunningServer, ...RunningServer[]]> {
  const { listen: address, adminListen, tls } = options;
  const opened: RunningServer[] = [];
  try {
    const main = await listen(broker.handler, { address, ...(tls && { tls }) });
    opened.push(main);
    if (!adminListen) return [main];
    return [main, await listen(broker.adminHandler, { address: adminListen, ...(tls && { tls }) })];
  } catch (error) {
    await Promise.all(opened.map((one) => one.drain(0)));
    await Promise.all([broker.stop(), operations.drain(0)]);
    throw error;
  }
}
