// The pusher of keys as this process has it: its API server, the broker of its settings, its metrics, and an Event on the
// Lease where the broker takes nothing for long.
import type { Registry } from 'prom-client';
import type { Clock, Random } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';
import { createBrokerClient } from './broker-client.ts';
import type { EventRecorder } from './events.ts';
import { createKeyPusher, type KeyPusher } from './keys.ts';
import { createKeysMetrics } from './keys-metrics.ts';
import { KEYS_PATH, KEYS_TYPE } from './keys-set.ts';
import { createTokenHistory } from './keys-tokens.ts';
import type { FindReplicas } from './replicas.ts';
import type { ControllerSettings } from './settings.ts';

export interface KeyPusherSetup {
  readonly settings: ControllerSettings;
  readonly client: Pick<KubeClient, 'get'>;
  readonly findReplicas: FindReplicas;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Undefined where the settings do not ask for it. */
export function openKeyPusher(setup: KeyPusherSetup): KeyPusher | undefined {
  const { settings, client, findReplicas, registry, clock, random, log } = setup;
  const { brokerUrl: url, brokerCaFile: caFile, cluster, tokenFile } = settings;
  if (!settings.pushKeys) return undefined;
  let next = 0;
  return createKeyPusher({
    readKeys: () => client.get(KEYS_PATH, { accept: KEYS_TYPE }),
    connect: async () => {
      const replicas = await findReplicas();
      // Another one each time: one that is away does not hold up those that are there.
      const address = replicas[next++ % replicas.length];
      if (!address) throw new Error('there is no replica of the broker');
      return createBrokerClient({ url, caFile, cluster, tokenFile, address });
    },
    tokens: createTokenHistory(tokenFile, clock),
    everySeconds: settings.keysSeconds,
    onPush: createKeysMetrics(registry, clock),
    onTrouble: createTeller(setup),
    clock,
    random,
    log,
  });
}

/** Says it where people look who do not read logs; what cannot be said stays in the log. */
function createTeller({
  settings,
  client,
  events,
}: KeyPusherSetup): (reason: string) => Promise<void> {
  const { namespace, leaseName: name, cluster } = settings;
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
  return async (reason) => {
    try {
      const { metadata } = Object(JSON.parse(await client.get(path))) as { metadata?: unknown };
      const { uid } = Object(metadata) as { uid?: unknown };
      if (typeof uid !== 'string') return;
      const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
      events.record({
        regarding: { ...kind, name, namespace, uid },
        type: 'Warning',
        reason: 'KeysNotPushed',
        action: 'PushingKeys',
        note: `the broker does not take the public keys of the cluster ${cluster} (${reason}); tokens under a key that it does not know are refused, and all once those it has are too old`,
      });
    } catch (error) {
      if (!(error instanceof KubeError || error instanceof SyntaxError)) throw error;
    }
  };
}
