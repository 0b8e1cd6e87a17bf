// The verbs of `coatcheck role`: two run offline and are the broker's own, the others speak to its API.
import type { Entry } from './entry.ts';

export const ROLE_VERBS: readonly Entry[] = [
  {
    name: 'list',
    describe: 'every role of every source, and the state it is in',
    load: async () => (await import('./commands/role/list.ts')).command,
  },
  {
    name: 'get',
    describe: 'print a role as YAML, ready to commit',
    load: async () => (await import('./commands/role/get.ts')).command,
  },
  {
    name: 'apply',
    describe: 'write roles from files to the broker',
    load: async () => (await import('./commands/role/apply.ts')).command,
  },
  {
    name: 'delete',
    describe: 'delete roles that the API keeps',
    load: async () => (await import('./commands/role/delete.ts')).command,
  },
  {
    name: 'lint',
    describe: 'say what the broker would say of role files, and what deserves a second look, in CI',
    load: async () => (await import('../broker/commands/role/lint.ts')).command,
  },
  {
    name: 'test',
    describe: 'decide about fixtures by role files, and compare with what is expected, in CI',
    load: async () => (await import('../broker/commands/role/test.ts')).command,
  },
];
