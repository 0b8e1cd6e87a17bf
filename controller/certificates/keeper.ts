// Keeps the certificates while this replica acts: reads the Secret, writes what is planned, tells the API server its bundle.
// All that it knows is in the Secret; what it remembers only saves requests.
import { writeFile } from 'node:fs/promises';
import type { Clock } from '../../common/clock.ts';
import type { KubeClient } from '../../common/kube/client.ts';
import { KubeError } from '../../common/kube/error.ts';
import type { Logger } from '../../common/log.ts';
import type { CertificateMetrics } from './certificate-metrics.ts';
import { findClockTrouble } from './clock-check.ts';
import { findMissingKey, type KeyKind } from './generated-keys.ts';
import { OWNED, type Teller } from './notes.ts';
import { type Plan, type Policy, planCertificates } from './plan.ts';
import { applyBundle } from './registration.ts';
import type { SecretStore, StoredSecret } from './secret.ts';

export interface KeeperOptions {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly secret: SecretStore;
  /** Without leaves there are no certificates to keep, only the generated key. */
  readonly policy: Policy;
  readonly keyKind: KeyKind;
  /** Name of the MutatingWebhookConfiguration; undefined: nobody is told. */
  readonly registration: string | undefined;
  /** Where the bundle is written for our own requests to the broker. */
  readonly caFile: string | undefined;
  /** Of validity: the time of day. */
  readonly wallClock: Pick<Clock, 'now'>;
  /** Its time is never put back. */
  readonly clock: Clock;
  readonly metrics: CertificateMetrics;
  readonly teller: Teller;
  readonly log: Logger;
}

export interface CertificateKeeper {
  /** Acts until the signal is aborted. */
  lead(signal: AbortSignal): Keeping;
}

/** Neither ever rejects. */
export interface Keeping {
  /** The first look is over, whatever came of it. */
  readonly prepared: Promise<void>;
  readonly ended: Promise<void>;
}

/** `again`: somebody wrote at the same time; it is read once more at once. */
type Outcome = 'done' | 'again' | 'failed';

const EVERY_MS = 60_000;
const AT_LEAST_MS = 1000;
/** After something failed. */
const RETRY_MS = 5000;
/** Somebody wrote at the same time: read again at once. */
const CONFLICT = 409;

/** Often enough for what the policy has fall due, each minute at least. */
export function toPause({ publishMs, leafLifetimeMs }: Policy): number {
  return Math.min(EVERY_MS, Math.max(AT_LEAST_MS, Math.min(publishMs, leafLifetimeMs) / 10));
}

export function createCertificateKeeper(options: KeeperOptions): CertificateKeeper {
  const { client, secret, policy, keyKind, registration, caFile } = options;
  const { wallClock, clock, metrics, teller, log } = options;
  const keepsCertificates = policy.leaves.length > 0;
  /** What the API server was last told, in this term. */
  let injected: string | undefined;
  let written: string | undefined;
  let isRotationWaiting = false;
  const troubles = new Map<string, string>();

  /** @returns whether to go on; each trouble is said once until it changes */
  async function attempt(
    step: 'read' | 'write' | 'inject',
    act: () => Promise<void>,
  ): Promise<boolean> {
    try {
      await act();
      if (troubles.delete(step)) log.info({ step }, 'certificates are kept again');
      return true;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (step === 'write' && error.status === CONFLICT) return false;
      metrics.countFailure(step);
      const text = `${error.message} ${error.owners.join(' ')}`;
      if (troubles.get(step) !== text) tellTrouble(step, error);
      troubles.set(step, text);
      return false;
    }
  }

  function tellTrouble(step: 'read' | 'write' | 'inject', error: KubeError): void {
    const { owners } = error;
    if (step === 'inject' && error.status === CONFLICT) log.error({ owners, registration }, OWNED);
    else log.error({ err: error, step }, PROBLEMS[step]);
  }

  /** What stands there stays in use, also by us; each state of the clock is said once. */
  function isClockWrong({ readAt, uid }: StoredSecret, now: number): boolean {
    const trouble = findClockTrouble(now, readAt);
    if (trouble === undefined || readAt === undefined) {
      if (troubles.delete('clock')) log.info({ step: 'clock' }, 'certificates are kept again');
      return false;
    }
    metrics.countFailure('clock');
    if (troubles.get('clock') !== trouble) teller.tellClock({ trouble, here: now, readAt, uid });
    troubles.set('clock', trouble);
    return true;
  }

  function planOf({ text, isRotationAsked }: StoredSecret, now: number): Plan | undefined {
    if (!keepsCertificates) return undefined;
    const isInjected = registration === undefined || injected === text['ca.crt'];
    return planCertificates(text, { now, isRotationAsked, isInjected }, policy);
  }

  /** @returns undefined where there is nothing to write, or it was written */
  async function store(
    before: StoredSecret,
    plan: Plan | undefined,
  ): Promise<'again' | 'failed' | undefined> {
    const missing = findMissingKey(before.text, keyKind);
    const changes = { ...(plan?.isChanged === true && plan.data), ...missing };
    const isRotationTaken = plan?.isRotationTaken ?? false;
    if (Object.keys(changes).length === 0) return undefined;
    const isWritten = await attempt('write', () =>
      secret.write(before, changes, { isRotationTaken }),
    );
    if (!isWritten) return troubles.has('write') ? 'failed' : 'again';
    if (missing) log.info({ keys: Object.keys(missing) }, 'a key was made for the broker');
    return undefined;
  }

  async function keep(): Promise<Outcome> {
    let stored: StoredSecret | undefined;
    await attempt('read', async () => {
      stored = await secret.read();
    });
    if (!stored) return 'failed';
    // One reading of the clock for both: it may be set in between.
    const now = wallClock.now();
    if (keepsCertificates && isClockWrong(stored, now)) {
      await writeCaFile(stored.text['ca.crt']);
      return 'failed';
    }
    const plan = planOf(stored, now);
    const trouble = await store(stored, plan);
    if (trouble) return trouble;
    if (!plan) return 'done';
    teller.tell(plan.notes, stored.uid);
    tellWaiting(stored.isRotationAsked && !plan.isRotationTaken);
    metrics.setEnds(plan.ends);
    await writeCaFile(plan.bundle);
    return (await inject(plan.bundle, stored.uid)) ? 'done' : 'failed';
  }

  /** Somebody who asks and sees nothing happen asks again. */
  function tellWaiting(isWaiting: boolean): void {
    if (isWaiting && !isRotationWaiting)
      log.info('another authority was asked for; it waits until those before it are over');
    isRotationWaiting = isWaiting;
  }

  async function writeCaFile(bundle = ''): Promise<void> {
    if (caFile === undefined || bundle === '' || written === bundle) return;
    await writeFile(caFile, bundle);
    written = bundle;
  }

  async function inject(bundle: string, uid: string): Promise<boolean> {
    if (registration === undefined) return true;
    injected = undefined;
    const isDone = await attempt('inject', async () => {
      try {
        await applyBundle(client, registration, bundle);
      } catch (error) {
        if (error instanceof KubeError && error.status === CONFLICT)
          teller.tellOwned(error.owners, uid);
        throw error;
      }
    });
    metrics.setInjected(registration, isDone);
    if (!isDone) return false;
    injected = bundle;
    return true;
  }

  function forget(): void {
    injected = undefined;
    written = undefined;
    isRotationWaiting = false;
    troubles.clear();
    metrics.forget();
  }

  async function run(signal: AbortSignal, onFirst: () => void): Promise<void> {
    let again = 0;
    while (!signal.aborted) {
      const outcome = await keep().catch((error: unknown) => {
        metrics.countFailure('write');
        log.error({ err: error }, 'certificates cannot be kept');
        return 'failed' as const;
      });
      again = outcome === 'again' ? again + 1 : 0;
      if (again > 0 && again < 5) continue;
      onFirst();
      const usual = toPause(policy);
      const pause = outcome === 'done' ? usual : Math.min(usual, RETRY_MS);
      await clock.sleep(pause, signal).catch(() => undefined);
    }
    forget();
    onFirst();
  }

  return {
    lead: (signal) => {
      const { promise: prepared, resolve } = Promise.withResolvers<void>();
      return { prepared, ended: run(signal, resolve) };
    },
  };
}

const PROBLEMS = {
  read: 'the Secret of the certificates cannot be read; what is in it stays in use',
  write: 'the Secret of the certificates cannot be written; what is in it stays in use',
  inject: 'the API server cannot be told its bundle; pods with annotations may have to wait',
} as const;
