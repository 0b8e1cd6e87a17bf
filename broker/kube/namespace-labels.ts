// Labels of the namespaces of the broker's own cluster, for `namespaceSelector`: their metadata alone, kept by list and
// watch from the moment somebody needs them.
import type { Clock, Random } from '../../common/clock.ts';
import type { KubeClient } from '../../common/kube/client.ts';
import { createCollection } from '../../common/kube/collection.ts';
import type { Logger } from '../../common/log.ts';
import type { NamespaceLabels } from '../roles/namespaces.ts';

export interface WatchedNamespaceLabels extends NamespaceLabels {
  /** Why selectors cannot work, a sentence each; empty also while nobody has tried. */
  problems(): readonly string[];
  isStarted(): boolean;
  /** Resolves when the labels are known, or the first try has failed. Again: nothing. */
  start(): Promise<void>;
  relist(): void;
  stop(): Promise<void>;
}

export interface NamespaceLabelsOptions {
  readonly client: Pick<KubeClient, 'get' | 'open'>;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
  /** Once, when the first list is complete. */
  readonly onLoaded?: () => void;
}

/** A label taken away while nobody could tell us must not let anybody in for ever. */
export const LABELS_STALE_MS = 15 * 60_000;
const PATH = '/api/v1/namespaces';

/** Makes the mirror; nothing is asked before `start`. */
export function createNamespaceLabels(options: NamespaceLabelsOptions): WatchedNamespaceLabels {
  const { clock, onLoaded } = options;
  let isTold = false;
  const collection = createCollection<Readonly<Record<string, string>>>({
    ...options,
    path: PATH,
    metadataOnly: true,
    onChange: () => {
      if (!isTold) onLoaded?.();
      isTold = true;
    },
    toItem: ({ metadata }) => Object.freeze(toLabels(metadata.labels)),
  });
  let isStarted = false;
  const isStale = () => {
    const trouble = collection.findTrouble();
    return trouble !== undefined && clock.now() - trouble.since > LABELS_STALE_MS;
  };
  const isReady = () => collection.isLoaded() && !isStale();
  return {
    find: (namespace) => (isReady() ? collection.items.get(namespace) : undefined),
    isReady,
    problems: () => {
      const trouble = collection.findTrouble();
      // The first moments are no problem: a status must not say so at each start.
      if (!trouble || isReady()) return [];
      const { kind, message } = trouble.error;
      const needs =
        kind === 'forbidden' ? ' (the broker needs the right to list and watch them)' : '';
      return [`namespaceSelector fits nobody: namespaces cannot be read: ${message}${needs}`];
    },
    isStarted: () => isStarted,
    start: async () => {
      if (!isStarted) {
        isStarted = true;
        collection.start();
      }
      await collection.settled();
    },
    relist: collection.relist,
    stop: collection.stop,
  };
}

function toLabels(labels: unknown): Readonly<Record<string, string>> {
  const texts = Object.entries(Object(labels) as object).filter(
    ([, value]) => typeof value === 'string',
  );
  // Without a prototype: no label is called `constructor` unless somebody called it so.
  return Object.assign(Object.create(null), Object.fromEntries(texts)) as Record<string, string>;
}
