// Events of events.k8s.io: what the controller has to say about an object of somebody else. Created and never changed, so
// the same words about the same object are sent once in a while, at a bounded rate, and only while this replica acts.
import { createHash } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';
import { createBell, FOREVER_MS } from './bell.ts';

/** The object that an Event is about. */
export interface EventObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  /** Absent for an object of the cluster: its Events are in `default`. */
  readonly namespace?: string;
}

export interface ObjectEvent {
  readonly regarding: EventObject;
  readonly type: 'Normal' | 'Warning';
  /** A word for machines: `MissedInjection`. */
  readonly reason: string;
  /** What was being done: `Inspecting`. */
  readonly action: string;
  /** For people; cut at 1024 characters. */
  readonly note: string;
}

export interface EventRecorder {
  /** @returns false where it could not be taken now: the queue is full, or this replica does not act */
  record(event: ObjectEvent): boolean;
  /** Sends until the signal is aborted; what is queued then is forgotten. Never rejects. */
  lead(signal: AbortSignal): Promise<void>;
}

/** `known`: the API server had it, from before a restart or from another replica. */
export type EventOutcome = 'stored' | 'known' | 'refused' | 'failed' | 'dropped';

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, 'post'>;
  /** Of this process, its pod's name. */
  readonly instance: string;
  readonly onOutcome?: (outcome: EventOutcome) => void;
  /** Its time must never be put back. */
  readonly clock: Clock;
  /** For what people read. */
  readonly wallClock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

export const MAX_QUEUED_EVENTS = 500;
/** API servers forget Events after an hour; this often they are told again. */
export const REPEAT_MS = 6 * 60 * 60 * 1000;
const MAX_REMEMBERED = 20_000;
const PER_SECOND = 5;
const BURST = 25;
const TRIES = 3;
const RETRY_MS = 5000;
/** What is under way when the Lease is lost ends before anybody else holds it. */
const WITHIN_MS = 4000;
const LOGGED_EVERY_MS = 60_000;
const MAX_NOTE = 1024;
const MAX_INSTANCE = 128;
const CONTROLLER = 'coatcheck-controller';
const CONFLICT = 409;
/** Of these the API server says that trying again is no use: no right, the namespace goes or is gone, not valid. */
const REFUSALS: readonly number[] = [400, 403, 404, 422];

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, clock, wallClock, log, onOutcome = () => undefined } = options;
  const instance = options.instance.slice(0, MAX_INSTANCE);
  const bell = createBell(clock);
  /** By name of the Event: when it was taken. */
  const said = new Map<string, number>();
  let queue: { readonly name: string; readonly event: ObjectEvent }[] = [];
  let isLeading = false;
  let loggedAt = Number.NEGATIVE_INFINITY;

  function remember(name: string): void {
    // In the order of their times, the oldest first.
    said.delete(name);
    said.set(name, clock.now());
    const [oldest] = said.keys();
    if (said.size > MAX_REMEMBERED && oldest !== undefined) said.delete(oldest);
  }

  function record(event: ObjectEvent): boolean {
    const name = toName(event);
    const at = said.get(name);
    if (at !== undefined && clock.now() - at < REPEAT_MS) return true;
    if (!isLeading) return false;
    if (queue.length >= MAX_QUEUED_EVENTS) {
      onOutcome('dropped');
      return false;
    }
    remember(name);
    queue.push({ name, event });
    bell.ring();
    return true;
  }

  async function send(name: string, event: ObjectEvent, signal: AbortSignal): Promise<void> {
    const namespace = event.regarding.namespace ?? 'default';
    const path = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
    const body = toBody(event, { name, namespace, instance, now: wallClock.now() });
    for (let left = TRIES - 1; !signal.aborted; left--) {
      try {
        await client.post(path, body, WITHIN_MS);
        return onOutcome('stored');
      } catch (error) {
        const outcome = findOutcome(error, left);
        if (outcome) return settle(name, event, { outcome, error });
        await clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
    said.delete(name);
  }

  function settle(
    name: string,
    { regarding, reason }: ObjectEvent,
    { outcome, error }: { outcome: EventOutcome; error: unknown },
  ): void {
    onOutcome(outcome);
    if (outcome === 'known') return;
    if (outcome === 'failed') said.delete(name);
    if (clock.now() - loggedAt < LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    const about = { kind: regarding.kind, namespace: regarding.namespace, name: regarding.name };
    log.warn({ err: error, ...about, reason }, 'an Event could not be written');
  }

  async function work(signal: AbortSignal): Promise<void> {
    let allowance = BURST;
    let countedAt = clock.now();
    while (!signal.aborted) {
      const next = queue.shift();
      if (!next) {
        await bell.wait(FOREVER_MS, signal);
        continue;
      }
      await send(next.name, next.event, signal);
      const now = clock.now();
      allowance = Math.min(BURST, allowance + ((now - countedAt) / 1000) * PER_SECOND) - 1;
      countedAt = now;
      if (allowance < 0) await clock.sleep(1000 / PER_SECOND, signal).catch(() => undefined);
    }
  }

  return {
    record,
    lead: async (signal) => {
      isLeading = true;
      await work(signal);
      isLeading = false;
      // Not said, so whoever acts next, also this replica, may say them.
      for (const { name } of queue) said.delete(name);
      queue = [];
    },
  };
}

/** Undefined where another try may help. */
function findOutcome(error: unknown, left: number): EventOutcome | undefined {
  const { status } = error instanceof KubeError ? error : {};
  if (status === CONFLICT) return 'known';
  if (status !== undefined && REFUSALS.includes(status)) return 'refused';
  return left > 0 ? undefined : 'failed';
}

const MAX_OBJECT_NAME = 200;

/**
 * The same for the same words about the same object: the API server itself then refuses what it has already, also after a
 * restart and from another replica. An object's name, a dot, 16 hex digits.
 */
function toName({ regarding, reason, note }: ObjectEvent): string {
  const { uid, namespace = '', kind, name } = regarding;
  const digest = createHash('sha256')
    .update(JSON.stringify([uid, namespace, kind, name, reason, note]))
    .digest('hex');
  return `${name.slice(0, MAX_OBJECT_NAME).replace(/[^a-z0-9]+$/, '')}.${digest.slice(0, 16)}`;
}

function toBody(
  { regarding, type, reason, action, note }: ObjectEvent,
  around: { name: string; namespace: string; instance: string; now: number },
): object {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: around.name, namespace: around.namespace },
    // MicroTime has six digits.
    eventTime: new Date(around.now).toISOString().replace('Z', '000Z'),
    reportingController: CONTROLLER,
    reportingInstance: around.instance,
    action,
    reason,
    regarding,
    type,
    note: note.slice(0, MAX_NOTE),
  };
}
