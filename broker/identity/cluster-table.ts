// The clusters table as it is now: the operator's file, and what was registered through the API. The file goes first; what
// does not go together with it, or with what was registered before, is left out and reported.
import type { Problem } from '../../common/documents.ts';
import type { Cluster } from './clusters.ts';

/** An entry that was written through the API. */
export interface RegisteredEntry {
  readonly name: string;
  /** Of two that do not go together the earlier one counts. */
  readonly version: number;
  readonly parsed: ParsedEntry;
}

export type ParsedEntry =
  | { readonly ok: true; readonly cluster: Cluster }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface EntryReport {
  readonly name: string;
  readonly source: 'file' | 'api';
  readonly state: 'Ready' | 'Shadowed' | 'Invalid';
  /** Why it does not count. */
  readonly message?: string;
  /** Absent where it is no entry under the rules as they are now. */
  readonly cluster?: Cluster;
}

export interface ClusterTable {
  /** The same list until something changes; in it the same objects for entries that did not. */
  current(): readonly Cluster[];
  /** In the order of the table, those that do not count too. */
  reports(): readonly EntryReport[];
  /** Why this entry would not go together with what is there; itself, under its name, apart. */
  findConflict(candidate: Cluster): Problem | undefined;
  /** The file says something else. @throws Error, and nothing is changed, where it cannot be taken while running */
  replaceFile(clusters: readonly Cluster[]): void;
  replaceRegistered(entries: readonly RegisteredEntry[]): void;
  /** Called after every change of {@link ClusterTable.current}. */
  onChange(listener: () => void): void;
}

export interface ClusterTableOptions {
  /** What the file says at the start. */
  readonly clusters: readonly Cluster[];
  /** Our own issuer, and former ones: their tokens are never subjects. */
  readonly ownIssuers: readonly string[];
}

export function createClusterTable({ clusters, ownIssuers }: ClusterTableOptions): ClusterTable {
  const own = findOwn(clusters);
  const listeners: (() => void)[] = [];
  let file = clusters;
  let registered: readonly RegisteredEntry[] = [];
  let table = clusters;
  let reports: readonly EntryReport[] = clusters.map(toReady);

  function update(): void {
    reports = merge({ file, registered, ownIssuers });
    const known = new Map(table.map((cluster) => [cluster.name, cluster]));
    const next = reports.flatMap(({ state, cluster }) =>
      state === 'Ready' && cluster ? [toSame(known.get(cluster.name), cluster)] : [],
    );
    if (next.length === table.length && next.every((one, index) => one === table[index])) return;
    table = next;
    for (const listener of listeners) listener();
  }

  return {
    current: () => table,
    reports: () => reports,
    findConflict: (candidate) =>
      findConflict(candidate, {
        others: table.filter(({ name }) => name !== candidate.name),
        ownIssuers,
      }),
    replaceFile: (next) => {
      if (findOwn(next) !== own)
        throw new Error('another cluster is the own one: that needs a restart of the broker');
      if (next.some(({ issuers }) => issuers.some((issuer) => ownIssuers.includes(issuer))))
        throw new Error('a cluster has an issuer of the broker itself');
      file = next;
      update();
    },
    replaceRegistered: (entries) => {
      registered = entries;
      update();
    },
    onChange: (listener) => void listeners.push(listener),
  };
}

function findOwn(clusters: readonly Cluster[]): string | undefined {
  return clusters.find(({ own }) => own)?.name;
}

function merge(given: {
  readonly file: readonly Cluster[];
  readonly registered: readonly RegisteredEntry[];
  readonly ownIssuers: readonly string[];
}): readonly EntryReport[] {
  const { file, ownIssuers } = given;
  const accepted = [...file];
  const reports = [...given.registered]
    .sort((a, b) => a.version - b.version)
    .map(({ name, parsed }): EntryReport => {
      if (!parsed.ok) {
        const message = parsed.problems.map(({ path, problem }) => `${path} ${problem}`).join('; ');
        return { name, source: 'api', state: 'Invalid', message };
      }
      const { cluster } = parsed;
      const told = { name, source: 'api', cluster } as const;
      if (file.some((one) => one.name === name))
        return {
          ...told,
          state: 'Shadowed',
          message: 'the clusters file has an entry of the name',
        };
      const conflict = findConflict(cluster, { others: accepted, ownIssuers });
      if (conflict)
        return { ...told, state: 'Invalid', message: `${conflict.path} ${conflict.problem}` };
      accepted.push(cluster);
      return { ...told, state: 'Ready' };
    });
  return [...file.map(toReady), ...reports.sort((a, b) => (a.name < b.name ? -1 : 1))];
}

function toReady(cluster: Cluster): EntryReport {
  return { name: cluster.name, source: 'file', state: 'Ready', cluster };
}

/** Which entry a token belongs to is told by its issuer, and then by the key that verifies it. */
function findConflict(
  candidate: Cluster,
  { others, ownIssuers }: { others: readonly Cluster[]; ownIssuers: readonly string[] },
): Problem | undefined {
  const { issuers } = candidate;
  if (issuers.some((issuer) => ownIssuers.includes(issuer)))
    return { path: 'issuer', problem: 'is one of the broker itself' };
  const sharing = others.filter((other) =>
    other.issuers.some((issuer) => issuers.includes(issuer)),
  );
  if (sharing.some((other) => other.kind === 'oidc' || candidate.kind === 'oidc'))
    return {
      path: 'issuer',
      problem: 'is that of another entry; only Kubernetes clusters share one',
    };
  if (sharing.some((other) => other.keys === undefined || candidate.keys === undefined))
    return {
      path: 'issuer',
      problem: 'is that of a cluster without keys: nothing would tell whose a token is',
    };
  return undefined;
}

/** What did not change stays the same object, so that whoever holds something for it can go on. */
function toSame(known: Cluster | undefined, next: Cluster): Cluster {
  if (!known || known === next) return next;
  return JSON.stringify(known) === JSON.stringify(next) ? known : next;
}
