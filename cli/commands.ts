// The table of commands: name, one sentence, and where the work is. Nothing is imported before it is asked for:
// `coatcheck exchange` must not pay for the broker's libraries.
import { CLUSTER_VERBS } from './cluster-commands.ts';
import type { TopEntry } from './entry.ts';
import { ROLE_VERBS } from './role-commands.ts';

export const COMMANDS: readonly TopEntry[] = [
  {
    name: 'webhook',
    group: 'programs',
    describe: 'the mutating admission webhook: annotated pod in, patch out',
    load: async () => (await import('../webhook/main.ts')).command,
  },
  {
    name: 'exchange',
    group: 'programs',
    describe: 'the injected container: ServiceAccount token in, client token file out',
    load: async () => (await import('../exchange/main.ts')).command,
  },
  {
    name: 'broker',
    group: 'programs',
    describe: 'validates ServiceAccount tokens, decides by roles, issues client tokens',
    load: async () => (await import('../broker/main.ts')).command,
  },
  {
    name: 'controller',
    group: 'programs',
    describe: "the cluster's side: tells the brokers which pods and ServiceAccounts are dead",
    load: async () => (await import('../controller/main.ts')).command,
  },
  {
    name: 'dev',
    group: 'programs',
    describe: 'the broker and a local issuer on a laptop, over plain HTTP',
    load: async () => (await import('../dev/main.ts')).command,
  },
  {
    name: 'inject',
    group: 'tools',
    describe: 'print manifests as the webhook would leave them',
    load: async () => (await import('../webhook/commands/inject.ts')).command,
  },
  {
    name: 'lint',
    group: 'tools',
    describe: 'say what the webhook would say of manifests, in CI',
    load: async () => (await import('../webhook/commands/lint.ts')).command,
  },
  {
    name: 'render',
    group: 'tools',
    describe: 'print the policies that inject without a webhook',
    load: async () => (await import('../webhook/commands/render.ts')).command,
  },
  {
    name: 'explain',
    group: 'tools',
    describe: 'why a ServiceAccount token, or a pod, gets a client token, or not, rule by rule',
    load: async () => (await import('../broker/commands/explain.ts')).command,
    verbs: [
      {
        name: 'pod',
        describe: 'what was decided about a running pod, and what would be now, rule by rule',
        load: async () =>
          (await import('./commands/explain/pod.ts')).createCommand(async () => {
            const { formatDecision } = await import('../broker/decision-text.ts');
            // Of a broker that may be older or newer than this: the text takes what is there.
            return (record) => formatDecision(record as Parameters<typeof formatDecision>[0]);
          }),
      },
    ],
  },
  { name: 'role', group: 'broker', describe: 'who may get what', verbs: ROLE_VERBS },
  {
    name: 'cluster',
    group: 'broker',
    describe: 'whom the broker believes',
    verbs: CLUSTER_VERBS,
  },
  {
    name: 'token',
    group: 'broker',
    describe: 'client tokens and static tokens',
    verbs: [
      {
        name: 'create',
        describe: 'make a static token; it is shown once',
        load: async () => (await import('./commands/token/create.ts')).command,
      },
      {
        name: 'list',
        describe: 'live tokens, by pod, role, namespace, audience or subject',
        load: async () => (await import('./commands/token/list.ts')).command,
      },
      {
        name: 'show',
        describe: 'everything about one token but the token',
        load: async () => (await import('./commands/token/show.ts')).command,
      },
      {
        name: 'revoke',
        describe: 'end tokens now, by accessor or in bulk',
        load: async () => (await import('./commands/token/revoke.ts')).command,
      },
    ],
  },
  {
    name: 'keys',
    group: 'broker',
    describe: 'signing keys',
    verbs: [
      {
        name: 'list',
        describe: 'signing keys, and where each is in its life',
        load: async () => (await import('./commands/keys/list.ts')).command,
      },
      {
        name: 'rotate',
        describe: 'announce a new signing key; it signs ten minutes later',
        load: async () => (await import('./commands/keys/rotate.ts')).command,
      },
      {
        name: 'rewrap',
        describe: 'seal every signing key anew with the newest sealing key',
        load: async () => (await import('./commands/keys/rewrap.ts')).command,
      },
    ],
  },
  {
    name: 'client',
    group: 'broker',
    describe: 'registered OAuth clients',
    verbs: [
      {
        name: 'create',
        describe: 'register an OAuth client; its secret is shown once',
        load: async () => (await import('./commands/client/create.ts')).command,
      },
      {
        name: 'list',
        describe: 'registered OAuth clients',
        load: async () => (await import('./commands/client/list.ts')).command,
      },
      {
        name: 'show',
        describe: 'one registered OAuth client',
        load: async () => (await import('./commands/client/show.ts')).command,
      },
      {
        name: 'delete',
        describe: 'delete registered OAuth clients',
        load: async () => (await import('./commands/client/delete.ts')).command,
      },
      {
        name: 'rotate-secret',
        describe: 'give a client a new secret; it is shown once',
        load: async () => (await import('./commands/client/rotate-secret.ts')).command,
      },
    ],
  },
  {
    name: 'whoami',
    group: 'broker',
    describe: 'who the broker takes you for, and what you may do',
    load: async () => (await import('./commands/whoami.ts')).command,
  },
  {
    name: 'doctor',
    group: 'tools',
    describe: 'look at an installation: what is wrong, what it means, what mends it',
    load: async () => (await import('./commands/doctor/command.ts')).command,
  },
  {
    name: 'completion',
    group: 'tools',
    describe: 'print a completion script for a shell',
    load: async () => (await import('./commands/completion.ts')).createCommand(() => COMMANDS),
  },
  {
    name: 'version',
    group: 'tools',
    describe: 'print the version',
    load: async () => (await import('./version.ts')).command,
  },
];

/** The text of `coatcheck --help`. */
export function renderHelp(): string {
  const list = (group: TopEntry['group']) =>
    COMMANDS.filter((entry) => entry.group === group)
      .map(({ name, describe }) => `  ${name.padEnd(10)} ${describe}`)
      .join('\n');
  return `coatcheck: one annotation on a pod, a short-lived client token in a file

Usage: coatcheck <command> [flags]
       coatcheck <command> --help

Programs (long-running; in a cluster the chart starts them)
${list('programs')}

At a broker (--server URL, --token-file FILE)
${list('broker')}

Tools
${list('tools')}

Start here
  coatcheck inject -f pod.yaml      see what one annotation does to a pod
  coatcheck lint -f deploy.yaml     find a misspelt annotation before the cluster does
  coatcheck dev                     a broker on this machine to try clients against

Every flag has a variable: --broker-url is COATCHECK_BROKER_URL; a flag beats a variable.
Exit codes: 0 done, 1 refused or failed, 2 used or configured wrongly.
`;
}
