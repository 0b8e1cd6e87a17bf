// The keeper of certificates, built from the controller's settings.

import type { Registry } from 'prom-client';
import type { Clock } from '../../common/clock.ts';
import type { KubeClient } from '../../common/kube/client.ts';
import type { Logger } from '../../common/log.ts';
import type { EventRecorder } from '../events.ts';
import type { ControllerSettings } from '../settings.ts';
import { createCertificateMetrics } from './certificate-metrics.ts';
import { type CertificateKeeper, createCertificateKeeper } from './keeper.ts';
import { createTeller } from './notes.ts';
import { openSecret } from './secret.ts';
import { toPolicy } from './settings.ts';

export interface KeeperDeps {
  readonly settings: ControllerSettings;
  readonly client: KubeClient;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly wallClock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** Undefined where there is no Secret to keep anything in. */
export function openKeeper(deps: KeeperDeps): CertificateKeeper | undefined {
  const { settings, client, events, registry, clock, wallClock, log } = deps;
  const { certificatesSecret: name, namespace, prefix } = settings;
  if (name === undefined) return undefined;
  const metrics = createCertificateMetrics(registry);
  return createCertificateKeeper({
    ...{ client, clock, wallClock, metrics, log },
    secret: openSecret({ client, namespace, name, prefix }),
    policy: toPolicy(settings, `coatcheck ${namespace}`),
    keyKind: settings.generateKey,
    registration: settings.webhookConfiguration,
    caFile: settings.certificatesCaFile,
    teller: createTeller({ log, metrics, events, namespace, secret: name }),
  });
}
