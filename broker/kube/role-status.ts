// Says in the status of each TokenRole what this broker makes of it. Serving does not depend on it: a write that fails is
// a line in the log. Replicas that see the same write the same, so the first is enough; where they differ (a rollout),
// each writes its own view once, and none undoes the other's again and again.
import type { Clock, Random } from '../../common/clock.ts';
import type { KubeClient } from '../../common/kube/client.ts';
import { KubeError } from '../../common/kube/error.ts';
import type { Logger } from '../../common/log.ts';
import { type RoleObject, TOKEN_ROLES_PATH } from '../roles/sources/crd.ts';

/** What the condition `Ready` says, and the roles that the role shares subjects with. */
export interface RoleVerdict {
  readonly ready: boolean;
  /** CamelCase: Accepted, Invalid, Shadowed, Ambiguous, NamespacesUnreadable. */
  readonly reason: string;
  readonly message: string;
  readonly overlaps: readonly string[];
}

export interface RoleStatusWriter {
  /** Looks at everything again; writes in the background. Cheap where nothing has changed. */
  refresh(): void;
  stop(): Promise<void>;
}

export interface RoleStatusOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly findObjects: () => ReadonlyMap<string, RoleObject>;
  /** What is said about roles at this moment; undefined: nothing yet. */
  readonly createVerdicts: () => (object: RoleObject) => RoleVerdict | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Before each write, up to: a thousand roles at once must not be a load, and of two replicas one comes first. */
const PAUSE_MS = 200;
const FAILURE_PAUSE_MS = 30_000;
const LOGGED_EVERY_MS = 60_000;
const MAX_MESSAGE = 4096;
const MAX_OVERLAPS = 100;
const CONFLICT = 409;
const NOT_FOUND = 404;

export function createRoleStatusWriter(options: RoleStatusOptions): RoleStatusWriter {
  const { client, findObjects, createVerdicts, clock, random, log } = options;
  const queue = new Set<string>();
  /** Name → what was last written, or found already written. */
  const told = new Map<string, string>();
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let loggedAt: number | undefined;

  function consider(object: RoleObject, verdict: RoleVerdict | undefined): void {
    const { name } = object;
    const wanted = findWanted(object, verdict);
    if (!wanted || wanted.isStored) {
      queue.delete(name);
      if (wanted) told.set(name, wanted.key);
    } else if (told.get(name) !== wanted.key) queue.add(name);
  }

  function findWanted(object: RoleObject, verdict: RoleVerdict | undefined) {
    if (!verdict) return undefined;
    const bounded = bound(verdict);
    const key = JSON.stringify([object.uid, object.generation, bounded]);
    return { key, verdict: bounded, isStored: isStored(object, bounded) };
  }

  async function work(): Promise<void> {
    while (queue.size > 0 && !stopping.signal.aborted) {
      await pause(PAUSE_MS * random());
      const [name] = queue;
      if (name === undefined || stopping.signal.aborted) return;
      queue.delete(name);
      const object = findObjects().get(name);
      const wanted = object && findWanted(object, createVerdicts()(object));
      if (wanted && !wanted.isStored && told.get(name) !== wanted.key) await write(object, wanted);
    }
  }

  async function write(
    object: RoleObject,
    { key, verdict }: { key: string; verdict: RoleVerdict },
  ): Promise<void> {
    const status = toStatus(object, verdict, clock.now());
    const { name, resourceVersion } = object;
    try {
      // With its version: what was written meanwhile is looked at first.
      const body = { metadata: { resourceVersion }, status };
      await client.patch(`${TOKEN_ROLES_PATH}/${encodeURIComponent(name)}/status`, body);
      told.set(name, key);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      // The next event brings what it is now, and `refresh` with it.
      if (error.status === CONFLICT || error.status === NOT_FOUND) return;
      logFailure(name, error);
      queue.add(name);
      await pause(FAILURE_PAUSE_MS);
    }
  }

  function logFailure(name: string, error: KubeError): void {
    if (loggedAt !== undefined && clock.now() - loggedAt < LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    log.warn({ role: name, err: error }, 'the status of a TokenRole could not be written');
  }

  function startWork(): void {
    if (queue.size === 0 || stopping.signal.aborted) return;
    running ??= work().finally(() => {
      running = undefined;
      startWork();
    });
  }

  const pause = (ms: number) => clock.sleep(ms, stopping.signal).catch(() => undefined);

  return {
    refresh: () => {
      const objects = findObjects();
      for (const name of told.keys()) if (!objects.has(name)) told.delete(name);
      const findVerdict = createVerdicts();
      for (const object of objects.values()) consider(object, findVerdict(object));
      startWork();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

function bound({ ready, reason, message, overlaps }: RoleVerdict): RoleVerdict {
  return {
    ready,
    reason,
    message: message.slice(0, MAX_MESSAGE),
    overlaps: overlaps.toSorted().slice(0, MAX_OVERLAPS),
  };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime?: string;
}

function readStatus({ status }: RoleObject) {
  const { conditions, overlaps } = Object(status) as { conditions?: unknown; overlaps?: unknown };
  const all = (Array.isArray(conditions) ? conditions : []) as readonly Condition[];
  return {
    ready: all.find(({ type }) => type === 'Ready'),
    others: all.filter(({ type }) => type !== 'Ready'),
    overlaps: (Array.isArray(overlaps) ? overlaps : []) as readonly unknown[],
  };
}

function isStored(object: RoleObject, verdict: RoleVerdict): boolean {
  const { ready, overlaps } = readStatus(object);
  return (
    ready?.status === toText(verdict.ready) &&
    ready.reason === verdict.reason &&
    ready.message === verdict.message &&
    ready.observedGeneration === object.generation &&
    JSON.stringify(overlaps) === JSON.stringify(verdict.overlaps)
  );
}

function toStatus(object: RoleObject, verdict: RoleVerdict, now: number): object {
  const { ready: before, others } = readStatus(object);
  const status = toText(verdict.ready);
  const isSame = before?.status === status && before.lastTransitionTime !== undefined;
  const ready: Condition = {
    type: 'Ready',
    status,
    reason: verdict.reason,
    message: verdict.message,
    observedGeneration: object.generation,
    lastTransitionTime: isSame
      ? (before.lastTransitionTime ?? '')
      : new Date(now).toISOString().replace(/\.\d+/, ''),
  };
  return {
    observedGeneration: object.generation,
    // A list in a merge patch replaces the whole list: others' conditions go along.
    conditions: [...others, ready],
    overlaps: verdict.overlaps,
  };
}

function toText(isReady: boolean): 'True' | 'False' {
  return isReady ? 'True' : 'False';
}
