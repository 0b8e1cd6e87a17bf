// A mirror of one collection of an API server, kept by list and watch. Once complete it is never emptied: while the API
// server is away it stays as it was, and a new list replaces it as a whole.
import type { IncomingMessage } from 'node:http';
import { type Clock, type Random, systemRandom } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './error.ts';
import { listObjects } from './list.ts';
import { type KubeObject, readWatchEvents, type WatchEvent } from './watch-stream.ts';

export interface CollectionOptions<T> {
  readonly client: Pick<KubeClient, 'get' | 'open'>;
  /** `/apis/auth.example.io/v1alpha1/tokenroles`. */
  readonly path: string;
  /** What is kept of an object: as little as is needed, and always without `managedFields`. */
  readonly toItem: (object: KubeObject) => T;
  /** Asks for names, labels and annotations alone (PartialObjectMetadata). */
  readonly metadataOnly?: boolean;
  /** After a list, and after each event that changed something. */
  readonly onChange?: () => void;
  /** Each item that came, changed or went, by an event or by a later list; the first list tells none. */
  readonly onItem?: (change: ItemChange<T>) => void;
  /** After a list that is not the first: what came and went before it was never seen. */
  readonly onRelist?: () => void;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
}

/** One key: absent `before`, it came; absent `after`, it went. Both may be different objects of one name. */
export interface ItemChange<T> {
  readonly before?: T;
  readonly after?: T;
}

/** What is known may be old. */
export interface CollectionTrouble {
  readonly since: number;
  readonly error: KubeError;
}

export interface Collection<T> {
  /** By name, or `<namespace>/<name>`. */
  readonly items: ReadonlyMap<string, T>;
  /** Whether a first complete list is there. */
  isLoaded(): boolean;
  /** Why it cannot be kept up to date now; undefined while it is. */
  findTrouble(): CollectionTrouble | undefined;
  /** Begins, and goes on until `stop`. Never rejects. */
  start(): void;
  /** Resolves when it is loaded, or the first try has failed. */
  settled(): Promise<void>;
  /** Lists anew: the server behind the address may be another one. */
  relist(): void;
  stop(): Promise<void>;
}

/** The server ends a watch after this; it is opened again with the credential that is on the disk then. */
const WATCH_SECONDS = 300;
const GONE = 410;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 30_000;
/** More failures in a row mean that the version itself may be what the server does not take. */
const FAILURES_TO_RELIST = 3;
const TROUBLE_LOGGED_EVERY_MS = 60_000;

/** Makes the mirror; nothing is asked before `start`. */
export function createCollection<T>(options: CollectionOptions<T>): Collection<T> {
  const { client, path, toItem, clock, log, random = systemRandom } = options;
  const withMetadata = options.metadataOnly ? { metadataOnly: true } : {};
  const stopping = new AbortController();
  const firstTry = Promise.withResolvers<void>();
  let items: Map<string, T> = new Map();
  let isLoaded = false;
  let version: string | undefined;
  let failures = 0;
  let trouble: CollectionTrouble | undefined;
  let loggedAt: number | undefined;
  let watching: IncomingMessage | undefined;
  let running: Promise<void> = Promise.resolve();

  async function list(): Promise<void> {
    const next = new Map<string, T>();
    version = await listObjects({ client, path, signal: stopping.signal, ...withMetadata }, (one) =>
      next.set(toKey(one), toItem(one)),
    );
    const before = items;
    items = next;
    if (isLoaded) tellDifferences(before, next);
    isLoaded = true;
    options.onChange?.();
  }

  function tellDifferences(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): void {
    const { onItem, onRelist } = options;
    if (onItem) {
      for (const [key, item] of before) if (!after.has(key)) onItem({ before: item });
      for (const [key, item] of after) onItem(toChange(before.get(key), item));
    }
    onRelist?.();
  }

  async function watch(): Promise<void> {
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: version ?? '',
      // Not all replicas at the same time.
      timeoutSeconds: String(Math.round(WATCH_SECONDS * (0.8 + 0.2 * random()))),
    });
    const response = await client.open(`${path}?${query}`, {
      ...(options.metadataOnly && { accept: METADATA }),
    });
    if (stopping.signal.aborted) response.destroy();
    watching = response;
    recover();
    await readWatchEvents(response, apply).finally(() => {
      watching = undefined;
    });
  }

  function apply({ type, object }: WatchEvent): void {
    const { resourceVersion } = object.metadata;
    if (resourceVersion !== undefined) version = resourceVersion;
    if (type === 'BOOKMARK') return;
    const key = toKey(object);
    const before = items.get(key);
    const after = type === 'DELETED' ? undefined : toItem(object);
    if (after === undefined) items.delete(key);
    else items.set(key, after);
    options.onItem?.(toChange(before, after));
    options.onChange?.();
  }

  function recover(): void {
    failures = 0;
    if (!trouble) return;
    log.info({ path, seconds: (clock.now() - trouble.since) / 1000 }, 'watching again');
    trouble = undefined;
    loggedAt = undefined;
  }

  function fail(error: KubeError): void {
    failures += 1;
    // Any status but a refusal of ours says that the server does not take the request as it is.
    const isStale = error.kind === 'unavailable' && error.status !== undefined;
    if (isStale || failures >= FAILURES_TO_RELIST) version = undefined;
    // A watch that outlived its version is everyday life.
    if (error.status === GONE && failures === 1) return;
    trouble = { since: trouble?.since ?? clock.now(), error };
    if (loggedAt !== undefined && clock.now() - loggedAt < TROUBLE_LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    log.warn({ path, err: error, isLoaded }, 'cannot watch; what is known stays in use');
  }

  async function step(): Promise<void> {
    if (version === undefined) await list();
    firstTry.resolve();
    if (!stopping.signal.aborted) await watch();
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await step().catch((error: unknown) => {
        if (stopping.signal.aborted) return;
        fail(error instanceof KubeError ? error : toUnexpected(error));
        firstTry.resolve();
      });
      // Also where a watch ended in peace: a server that ends each one at once must not be asked without pause.
      await clock.sleep(toWait(failures, random), stopping.signal).catch(() => undefined);
    }
  }

  return {
    get items() {
      return items;
    },
    isLoaded: () => isLoaded,
    findTrouble: () => trouble,
    start: () => {
      running = run();
    },
    settled: () => firstTry.promise,
    relist: () => {
      version = undefined;
      watching?.destroy();
    },
    stop: async () => {
      stopping.abort();
      watching?.destroy();
      firstTry.resolve();
      await running;
    },
  };
}

/** A bug of ours, or an object that no code of ours foresaw: what is known stays in use, and the process lives. */
function toUnexpected(cause: unknown): KubeError {
  return new KubeError('unavailable', 'what the API server sent could not be taken', { cause });
}

function toChange<T>(before: T | undefined, after: T | undefined): ItemChange<T> {
  return { ...(before !== undefined && { before }), ...(after !== undefined && { after }) };
}

const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

function toKey({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Exponential with full jitter, but never at once: a hundred replicas must not meet at a server that starts. */
function toWait(failures: number, random: Random): number {
  const longest = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1));
  return longest * (0.5 + 0.5 * random());
}
