// `coatcheck role lint`: what the broker would say of role files, before it gets them. For CI.
import type { Command, CommandIo } from '../../../common/command.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  flag,
  list,
  optional,
  SettingsError,
} from '../../../common/settings.ts';
import { type Finding, lintRoles } from '../../roles/lint.ts';
import { ROLE_TABLE, readCommand } from './input.ts';

const LINT_TABLE = {
  clusters: optional(
    list({
      flagOnly: true,
      doc: 'Names of the clusters that the broker knows; with them, any other name in a role is a warning',
    }),
  ),
  issuers: optional(
    list({ flagOnly: true, doc: 'Names of the OIDC issuers that the broker knows; likewise' }),
  ),
  strict: flag({ flagOnly: true, default: false, doc: 'Warnings count as problems' }),
} as const;

const EXIT_PROBLEMS = 1;

export const command: Command = {
  describe: 'say what the broker would say of role files, and what deserves a second look, in CI',
  help: () => `coatcheck role lint -f FILE|DIR… [flags]

Reads role files as the broker does. Problems are documents that are no roles; warnings are roles that work and deserve
a second look: far-reaching wildcards, subjects that two roles for one audience share, tokens without scopes.

  -f, --filename FILE…   role files or folders of them; - is standard input; may be repeated

Exit codes: 0 no problems, 1 problems (with --strict: or warnings), 2 used wrongly.

Flags
${describeFlags({ ...LINT_TABLE, ...ROLE_TABLE })}
`,
  run,
};

export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { settings, files } = await readCommand(LINT_TABLE, args, io);
    const { roles, problems } = files;
    const { ownCluster, clusters, issuers } = settings;
    const warnings = lintRoles(roles, {
      ownCluster,
      ...(clusters && { clusters: [...clusters, ownCluster] }),
      ...(issuers && { issuers }),
    });
    io.stdout(
      settings.output === 'json'
        ? `${JSON.stringify({ roles: roles.length, problems, warnings }, null, 2)}\n`
        : renderText({ roles: roles.length, problems, warnings }),
    );
    const isBad = problems.length > 0 || (settings.strict && warnings.length > 0);
    return isBad ? EXIT_PROBLEMS : 0;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck role lint: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
}

interface Report {
  readonly roles: number;
  readonly problems: readonly string[];
  readonly warnings: readonly Finding[];
}

function renderText({ roles, problems, warnings }: Report): string {
  const lines = [
    ...problems.map((problem) => `problem: ${problem}`),
    ...warnings.map(({ role, source, subject, message, kind }) => {
      const place = subject === undefined ? '' : `, subject ${subject + 1}`;
      return `warning: ${source.replace(/^file:/, '')}: ${role}${place}: ${message} [${kind}]`;
    }),
    `roles: ${roles}, problems: ${problems.length}, warnings: ${warnings.length}`,
  ];
  return `${lines.join('\n')}\n`;
}
