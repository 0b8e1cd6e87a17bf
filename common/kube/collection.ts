// A mirror of one collection of an API server, kept by list and watch. Once complete it is never emptied: while the API
// server is away it stays as it was, and a new list replaces it as a whole.
import type { IncomingMessage } from 'node:http';
import { type Clock, type Random, systemRandom } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './error.ts';
import { isKubeObject, type KubeObject, readWatchEvents, type WatchEvent } from './watch-stream.ts';

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
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
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

const PAGE = 250;
/** Of one page; roles and metadata are a few KiB each. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024;
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
    let resume = '';
    do {
      const query = `limit=${PAGE}${resume && `&continue=${encodeURIComponent(resume)}`}`;
      const page = parseList(
        await client.get(`${path}?${query}`, {
          maxBytes: MAX_PAGE_BYTES,
          ...(options.metadataOnly && { accept: METADATA_LIST }),
        }),
      );
      for (const object of page.items) next.set(toKey(object), toItem(object));
      version = page.resourceVersion;
      resume = page.resume;
    } while (resume !== '' && !stopping.signal.aborted);
    items = next;
    isLoaded = true;
    options.onChange?.();
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
    if (type === 'DELETED') items.delete(toKey(object));
    else items.set(toKey(object), toItem(object));
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
        if (!(error instanceof KubeError)) throw error;
        fail(error);
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

const META = 'g=meta.k8s.io;v=v1';
const METADATA_LIST = `application/json;as=PartialObjectMetadataList;${META}`;
const METADATA = `application/json;as=PartialObjectMetadata;${META}`;

interface Page {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly resume: string;
}

function parseList(text: string): Page {
  const list = parse(text);
  const { resourceVersion, continue: resume = '' } = Object(list.metadata) as Record<
    string,
    unknown
  >;
  const { items } = list;
  if (!Array.isArray(items) || !items.every(isKubeObject) || typeof resourceVersion !== 'string')
    throw new KubeError('unavailable', 'answered something that is no list');
  return { items, resourceVersion, resume: String(resume) };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    throw new KubeError('unavailable', 'answered something that is not JSON');
  }
}

function toKey({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Exponential with full jitter, but never at once: a hundred replicas must not meet at a server that starts. */
function toWait(failures: number, random: Random): number {
  const longest = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1));
  return longest * (0.5 + 0.5 * random());
}
