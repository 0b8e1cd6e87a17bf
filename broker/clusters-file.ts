// The clusters file, read again as it or a key set that it names changes. What was good stays in use where the new content
// cannot be used.
import { readFileSync } from 'node:fs';
import { type Cluster, ClustersError, parseClusters } from './identity/clusters.ts';

export interface ClustersFile {
  current(): readonly Cluster[];
  /**
   * Reads again.
   * @param use takes a table that is another one; what it throws leaves the one before in place
   * @throws ClustersError, also where a file cannot be read; what `use` throws
   */
  reload(use: (clusters: readonly Cluster[]) => void): void;
}

/** @throws ClustersError, also where a file cannot be read */
export function openClusters(file: string): ClustersFile {
  let read = readAll(file);
  return {
    current: () => read.clusters,
    reload: (use) => {
      if (isAsRead(read.texts)) return;
      const next = readAll(file);
      use(next.clusters);
      read = next;
    },
  };
}

interface Read {
  readonly clusters: readonly Cluster[];
  /** Of each file that was read, what was in it. */
  readonly texts: ReadonlyMap<string, string>;
}

function readAll(file: string): Read {
  const texts = new Map<string, string>();
  const readText = (path: string) => {
    const text = readFileSync(path, 'utf8');
    texts.set(path, text);
    return text;
  };
  return { clusters: parseClusters(readTable(file, readText), { file, readText }), texts };
}

function readTable(file: string, readText: (path: string) => string): string {
  try {
    return readText(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new ClustersError(file, [`cannot be read (${code})`]);
  }
}

function isAsRead(texts: ReadonlyMap<string, string>): boolean {
  try {
    return [...texts].every(([path, text]) => readFileSync(path, 'utf8') === text);
  } catch {
    return false;
  }
}
