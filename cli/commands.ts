// The table of subcommands: name, one sentence, and where the work is. Nothing is imported before it is asked for:
// `coatcheck exchange` must not pay for the broker's libraries.
import type { Command } from '../common/command.ts';

interface Entry {
  readonly name: string;
  readonly group: 'programs' | 'tools';
  readonly describe: string;
  readonly load: () => Promise<Command>;
}

export const COMMANDS: readonly Entry[] = [
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
    name: 'explain',
    group: 'tools',
    describe: 'why a ServiceAccount token gets a client token, or not, rule by rule',
    load: async () => (await import('../broker/commands/explain.ts')).command,
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
  const list = (group: Entry['group']) =>
    COMMANDS.filter((entry) => entry.group === group)
      .map(({ name, describe }) => `  ${name.padEnd(10)} ${describe}`)
      .join('\n');
  return `coatcheck: one annotation on a pod, a short-lived client token in a file

Usage: coatcheck <command> [flags]
       coatcheck <command> --help

Programs (long-running; in a cluster the chart starts them)
${list('programs')}

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
