// The dev server: the real broker with a store, and the local issuer, on one plain HTTP port.
import { rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import type { AuditStream } from '../broker/audit.ts';
import { type Broker, type BrokerOptions, createBroker } from '../broker/broker.ts';
import { type Cluster, parseClusters } from '../broker/identity/clusters.ts';
import { openReceivers, type Receivers } from '../broker/receivers.ts';
import { createReloads, type Reloads } from '../broker/reload.ts';
import { openStore } from '../broker/store/open.ts';
import type { Store } from '../broker/store/store.ts';
import type { Clock, Random } from '../common/clock.ts';
import { listen, type RunningServer } from '../common/http.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { ListenAddress } from '../common/settings.ts';
import {
  ADMINISTRATOR_TTL_SECONDS,
  type Administrator,
  findAdministrator,
} from './administrator.ts';
import { withHostCheck } from './host.ts';
import { createLocalIssuer, ISSUER_PATH } from './issuer.ts';
import { createDevKeys } from './keys.ts';
import { DEMO_ROLES } from './roles.ts';
import { createScratch, type Scratch } from './scratch.ts';
import type { DevStore } from './settings.ts';

/** The name of the local issuer's cluster: it stands in the `sub` of every token made here. */
export const DEV_CLUSTER = 'dev';

const MAX_TOKEN_TTL_SECONDS = 86_400;
const KEEP_DECISIONS_SECONDS = 7 * 86_400;
const MAX_DECISIONS = 10_000;
const DRAIN_MS = 5_000;

export interface DevOptions {
  readonly listen: ListenAddress;
  /** Folder of role files, or one; {@link DEMO_ROLES} without it. */
  readonly rolesPath?: string | undefined;
  readonly store: DevStore;
  /** The administrator's; without it one is made and put into a file. */
  readonly bootstrapToken?: Secret | undefined;
  /** Absent: every identity may ask about every audience. */
  readonly receiversFile?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly auditStream: AuditStream;
  readonly newId: () => string;
  /** Ends a start that waits for its database. */
  readonly startSignal?: AbortSignal;
}

export interface RunningDev {
  /** `http://…`: the broker's issuer; the local issuer's is below it. */
  readonly url: string;
  /** Where the administrator's token is that was made here. */
  readonly tokenFile?: string;
  /** Ends requests in flight and the work in the background; what was temporary is gone. */
  stop(): Promise<void>;
}

/** What is to be ended, as far as it has begun. */
interface Parts {
  readonly scratch: Scratch;
  server?: RunningServer;
  broker?: Broker;
  reloads?: Reloads;
  administrator?: Administrator;
}

/**
 * Starts both; resolves when they answer.
 * @throws Error of the system where the address cannot be had; Error, StoreError where store, keys or files cannot be used
 */
export async function startDev(options: DevOptions): Promise<RunningDev> {
  const parts: Parts = { scratch: createScratch() };
  const stop = async () => {
    await Promise.all([parts.server?.drain(DRAIN_MS), parts.reloads?.stop()]);
    await parts.broker?.stop();
    parts.scratch.remove();
  };
  try {
    return { ...(await startParts(options, parts)), stop };
  } catch (error) {
    await stop();
    // Perhaps it lies beside a database that is not ours.
    if (parts.administrator?.isNew) rmSync(parts.administrator.file ?? '', { force: true });
    throw error;
  }
}

async function startParts(options: DevOptions, parts: Parts): Promise<Omit<RunningDev, 'stop'>> {
  const { scratch } = parts;
  // The issuers are named after the port, which is known once it is open; until then nobody is told of it.
  let handler: RequestListener = (_request, response) => response.writeHead(503).end();
  const server = await listen(
    withHostCheck(options.listen, (request, response) => handler(request, response)),
    { address: options.listen },
  );
  parts.server = server;
  const { clock } = options;
  const issuer = createLocalIssuer({
    baseUrl: server.url,
    clock,
    onPodDeath: async (uid) => {
      const dead = [{ kind: 'Pod' as const, uid, diedAt: clock.now() }];
      await parts.broker?.deaths.reportDead(DEV_CLUSTER, dead);
    },
  });
  const { store: choice, bootstrapToken: given } = options;
  const administrator = findAdministrator(given, { store: choice, scratch });
  if (administrator) parts.administrator = administrator;
  const broker = createBroker({
    ...(await toBrokerOptions(options, parts)),
    issuer: server.url,
    clusters: toClusters(issuer.issuer),
    ...(administrator && {
      bootstrap: { token: administrator.token, ttlSeconds: ADMINISTRATOR_TTL_SECONDS },
    }),
  });
  parts.broker = broker;
  handler = (request, response) =>
    request.url?.startsWith(`${ISSUER_PATH}/`)
      ? issuer.handler(request, response)
      : broker.handler(request, response);
  await broker.start();
  parts.reloads?.start(broker.metrics.countReloadFailure);
  const tokenFile = administrator?.file;
  return { url: server.url, ...(tokenFile !== undefined && { tokenFile }) };
}

async function toBrokerOptions(
  options: DevOptions,
  parts: Parts,
): Promise<Omit<BrokerOptions, 'issuer' | 'clusters'>> {
  const { clock, log, auditStream, newId, startSignal } = options;
  const { scratch } = parts;
  const store = await findStore(options, scratch);
  const maxTokenTtlSeconds = MAX_TOKEN_TTL_SECONDS;
  return {
    rolesPath: options.rolesPath ?? scratch.write('roles/demo.yaml', DEMO_ROLES),
    ...createDevKeys(store, { scratch, maxTokenTtlSeconds, clock, log }),
    maxTokenTtlSeconds,
    ...(store && { store }),
    findReceivers: readReceivers(options, parts),
    ...(startSignal && { startSignal }),
    clock,
    log,
    auditStream,
    newId,
  };
}

async function findStore(options: DevOptions, scratch: Scratch): Promise<Store | undefined> {
  const { store: choice } = options;
  if (choice.kind === 'none') return undefined;
  const chosen =
    choice.kind === 'temporary'
      ? ({ kind: 'sqlite', file: scratch.toPath('store.db') } as const)
      : choice;
  return openStore(chosen, {
    ...options,
    keepDecisionsSeconds: KEEP_DECISIONS_SECONDS,
    maxDecisions: MAX_DECISIONS,
  });
}

function readReceivers(options: DevOptions, parts: Parts): () => Receivers {
  const { receiversFile, clock, log } = options;
  if (receiversFile === undefined) return () => EVERYBODY;
  const file = openReceivers(receiversFile);
  parts.reloads = createReloads({ clock, log });
  parts.reloads.add('receivers', () => {
    file.reload();
    return [];
  });
  return file.current;
}

/** The local issuer makes everybody who they like to be; a token for one audience opens that alone here, too. */
const EVERYBODY: Receivers = {
  mayAsk: ({ identity, onlyAudience }, audience) =>
    identity !== undefined && (onlyAudience === undefined || onlyAudience === audience),
  isAbout: () => true,
};

/** The clusters table of the dev broker: the local issuer alone, by its keys' address as for any cluster. */
function toClusters(issuer: string): readonly Cluster[] {
  const cluster = {
    name: DEV_CLUSTER,
    kind: 'kubernetes',
    issuer,
    validation: 'offline',
    keys: { url: `${issuer}/openid/v1/jwks` },
  };
  return parseClusters(JSON.stringify({ clusters: [cluster] }), { file: 'coatcheck dev' });
}
