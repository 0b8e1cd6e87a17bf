// One of several controllers acts at a time: a Lease of coordination.k8s.io, held as client-go holds it. Whoever holds it
// stops acting 10 s after its last renewal was sent; nobody else takes it before 15 s after seeing that renewal.
import type { Clock, Random } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';

export interface LeaseOptions {
  readonly client: Pick<KubeClient, 'get' | 'post' | 'patch'>;
  readonly namespace: string;
  readonly name: string;
  /** Another one for each process, also after a restart. */
  readonly identity: string;
  /** Its time must never be put back: terms are counted by it. */
  readonly clock: Clock;
  /** For what people read in the object; nothing is decided by it. */
  readonly wallClock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly log: Logger;
  /** Acts until the signal is aborted; resolves when nothing is under way any more. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

export interface Lease {
  isHeld(): boolean;
  start(): void;
  /** Ends what is led, then gives the Lease back. */
  stop(): Promise<void>;
}

export const LEASE_SECONDS = 15;
export const RENEW_DEADLINE_MS = 10_000;
export const RETRY_MS = 2000;
/** Those who wait do not all ask at the same time. */
const JITTER = 1.2;
const CONFLICT = 409;
const NOT_FOUND = 404;

interface Stored {
  readonly version: string;
  readonly holder: string;
  readonly seconds: number;
  readonly acquireTime: string | undefined;
  readonly transitions: number;
  /** Of all that a holder writes. */
  readonly text: string;
}

interface Term {
  readonly ending: AbortController;
  readonly ended: Promise<void>;
}

export function createLease(options: LeaseOptions): Lease {
  const { client, namespace, name, identity, clock, wallClock, random, log, lead } = options;
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const path = `${collection}/${name}`;
  const stopping = new AbortController();
  let stored: Stored | undefined;
  /** When what is stored was first seen as it is. */
  let seenAt = 0;
  let heldUntil = Number.NEGATIVE_INFINITY;
  let term: Term | undefined;
  let running: Promise<void> = Promise.resolve();
  let isTroubled = false;
  let mustRead = true;

  const isHeld = () => term !== undefined && !term.ending.signal.aborted && clock.now() < heldUntil;
  const isOurs = () => stored?.holder === identity;

  function see(text: string): void {
    const next = parseLease(text);
    if (next.text !== stored?.text) seenAt = clock.now();
    stored = next;
  }

  async function read(): Promise<void> {
    try {
      see(await client.get(path));
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== NOT_FOUND) throw error;
      stored = undefined;
    }
  }

  /** Whether it is ours now. @throws KubeError */
  async function tryOnce(): Promise<boolean> {
    if (mustRead || !isHeld() || !isOurs()) await read();
    mustRead = false;
    if (!stored) {
      const metadata = { name, namespace };
      see(await client.post(collection, { ...KIND, metadata, spec: toSpec() }));
      return isOurs();
    }
    const isTaken = stored.holder !== '' && !isOurs();
    if (isTaken && clock.now() < seenAt + stored.seconds * 1000) return false;
    // With its version: of two who take it at once, one is told of a conflict.
    const metadata = { resourceVersion: stored.version };
    see(await client.patch(path, { metadata, spec: toSpec(stored) }));
    return isOurs();
  }

  function toSpec(before?: Stored): object {
    const now = toMicroTime(wallClock.now());
    const isRenewed = before?.holder === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: LEASE_SECONDS,
      acquireTime: (isRenewed && before.acquireTime) || now,
      renewTime: now,
      leaseTransitions: before ? before.transitions + (isRenewed ? 0 : 1) : 0,
    };
  }

  async function step(): Promise<void> {
    const sentAt = clock.now();
    try {
      const isWon = await tryOnce();
      isTroubled = false;
      if (isWon) hold(sentAt + RENEW_DEADLINE_MS);
      else await end('it is held by another controller');
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      // Whether a write without an answer was stored is not known; the next try reads.
      mustRead = true;
      if (error.status === CONFLICT) return;
      if (!isTroubled) log.warn({ err: error, lease: name }, 'the Lease cannot be read or written');
      isTroubled = true;
    }
  }

  function hold(until: number): void {
    heldUntil = until;
    if (term || stopping.signal.aborted || clock.now() >= until) return;
    const ending = new AbortController();
    log.info({ lease: name, identity }, 'this controller acts from now on');
    term = { ending, ended: lead(ending.signal) };
    void watchTerm(term);
  }

  /** By a timer of its own: a renewal that gets no answer must not hold it up. */
  async function watchTerm(mine: Term): Promise<void> {
    const { signal } = mine.ending;
    while (!signal.aborted) {
      const left = heldUntil - clock.now();
      if (left <= 0) await end('it could not be renewed in time', mine);
      else await clock.sleep(left, signal).catch(() => undefined);
    }
  }

  async function end(why: string, mine = term): Promise<void> {
    if (!mine || mine !== term) return;
    if (!mine.ending.signal.aborted)
      log.warn({ lease: name, why }, 'this controller does not act any more');
    mine.ending.abort(new Error('the Lease is not held any more'));
    await mine.ended;
    if (term === mine) term = undefined;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await step();
      const pause = isHeld() ? RETRY_MS : RETRY_MS * (1 + JITTER * random());
      await clock.sleep(pause, stopping.signal).catch(() => undefined);
    }
  }

  async function release(): Promise<void> {
    if (!stored || !isOurs()) return;
    const metadata = { resourceVersion: stored.version };
    const now = toMicroTime(wallClock.now());
    const spec = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
    await client.patch(path, { metadata, spec }).catch((error: unknown) => {
      log.warn({ err: error, lease: name }, 'the Lease could not be given back');
    });
  }

  return {
    isHeld,
    start: () => {
      running = run();
    },
    stop: async () => {
      stopping.abort();
      await end('the process is stopping');
      await running;
      await end('the process is stopping');
      await release();
    },
  };
}

const KIND = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' } as const;

function parseLease(text: string): Stored {
  const { metadata, spec } = toObject(text) as { metadata?: unknown; spec?: unknown };
  const { resourceVersion } = Object(metadata) as { resourceVersion?: unknown };
  const { holderIdentity, leaseDurationSeconds, acquireTime, leaseTransitions } = Object(
    spec,
  ) as Record<string, unknown>;
  if (typeof resourceVersion !== 'string')
    throw new KubeError('unavailable', 'answered something that is no Lease');
  return {
    version: resourceVersion,
    holder: typeof holderIdentity === 'string' ? holderIdentity : '',
    seconds: typeof leaseDurationSeconds === 'number' ? leaseDurationSeconds : LEASE_SECONDS,
    acquireTime: typeof acquireTime === 'string' ? acquireTime : undefined,
    transitions: typeof leaseTransitions === 'number' ? leaseTransitions : 0,
    text: JSON.stringify(spec ?? null),
  };
}

function toObject(text: string): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    throw new KubeError('unavailable', 'answered something that is not JSON');
  }
}

/** RFC 3339 with the six digits that Kubernetes' MicroTime has. */
function toMicroTime(now: number): string {
  return new Date(now).toISOString().replace('Z', '000Z');
}
