// The verbs of `coatcheck cluster`.
import type { Entry } from './entry.ts';

export const CLUSTER_VERBS: readonly Entry[] = [
  {
    name: 'list',
    describe: 'every cluster and issuer the broker believes, and how it stands with their keys',
    load: async () => (await import('./commands/cluster/list.ts')).command,
  },
  {
    name: 'get',
    describe: 'print a cluster of the API as YAML, ready to commit',
    load: async () => (await import('./commands/cluster/get.ts')).command,
  },
  {
    name: 'apply',
    describe: 'register clusters from files at the broker',
    load: async () => (await import('./commands/cluster/apply.ts')).command,
  },
  {
    name: 'delete',
    describe: 'delete clusters that the API keeps: nothing of them is believed any more',
    load: async () => (await import('./commands/cluster/delete.ts')).command,
  },
];
