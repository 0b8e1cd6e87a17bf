// `coatcheck role apply`: files in, roles at the broker. The broker is asked about every document first; where it refuses
// one, none is written.
import { withoutFileFlags } from '../../../common/command.ts';
import type { RoleApplied } from '../../../common/protocol/admin-api.ts';
import { flag, optional, path } from '../../../common/settings.ts';
import { type ApiContext, defineApiCommand } from '../../api-command.ts';
import { ApiFailure } from '../../failure.ts';
import { toNeeds } from '../../needs.ts';
import { toPlainText } from '../../plain-text.ts';
import { type RoleDocument, readRoleFiles } from '../../role-files.ts';
import { formatTable } from '../../table.ts';

const TABLE = {
  filename: optional(
    path({
      flagOnly: true,
      short: 'f',
      doc: 'File or folder of TokenRole documents, - for standard input; may be repeated and may take several',
    }),
  ),
  dryRun: flag({ flagOnly: true, default: false, doc: 'Only say what would be done' }),
  force: flag({
    flagOnly: true,
    default: false,
    doc: 'Also where a served subject becomes ambiguous (two roles fit it equally: both then grant it nothing)',
  }),
} as const;

export const command = defineApiCommand({
  name: 'role apply',
  describe: 'write roles from files to the broker',
  usage: '-f FILE…',
  about: `Creates or changes roles through the API, and says which of them are created, changed or unchanged. Every document is
checked by the broker before the first is written: where one is refused, nothing is done. What is not in the files
stays as it is. You can write only roles whose policies, audiences and lifetimes lie within your own.

  coatcheck role apply -f roles/ --dry-run
  coatcheck role get a | sed s/15m/5m/ | coatcheck role apply -f -`,
  needs: toNeeds('roles', 'update'),
  operands: { min: 0, max: 1000 },
  table: TABLE,
  prepare: withoutFileFlags,
  findProblems: (_settings, operands) =>
    operands.length === 0 ? ['-f is required: a file of roles'] : [],
  run: async (context) => {
    const { settings, operands, io, print } = context;
    const documents = await readRoleFiles(operands, io);
    const checked = await applyAll(context, documents, true);
    const applied = settings.dryRun ? checked : await applyAll(context, documents, false);
    await print({ items: applied }, () =>
      formatTable(
        ['NAME', 'RESULT'],
        applied.map(({ role, result }) => [
          role.name,
          settings.dryRun ? `${result} (dry run)` : result,
        ]),
      ),
    );
    for (const { role, warnings } of applied)
      for (const warning of warnings)
        io.stderr(`${toPlainText(`warning: ${role.name}: ${warning}`)}\n`);
    return 0;
  },
});

/** @throws ApiFailure with every refusal of a dry run; of the real one with the first, and what was done before it */
async function applyAll(
  { client, settings }: ApiContext<typeof TABLE>,
  documents: readonly RoleDocument[],
  dryRun: boolean,
): Promise<readonly RoleApplied[]> {
  const applied: RoleApplied[] = [];
  const refused: string[] = [];
  for (const { name, where, document } of documents) {
    try {
      applied.push(
        await client.send<RoleApplied>({
          method: 'PUT',
          path: ['roles', name],
          query: {
            ...(dryRun && { dryRun: true }),
            ...(settings.force && { force: true }),
          },
          body: document,
        }),
      );
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      refused.push(`${where}: ${error.message}`);
      // A refusal of rights, or a broker that is away, is the same for all.
      if (!dryRun || [0, 401, 403, 503].includes(error.status)) break;
    }
  }
  if (refused.length === 0) return applied;
  const done = dryRun
    ? 'nothing was written'
    : `written before: ${applied.map(({ role }) => role.name).join(', ') || 'none'}`;
  throw new ApiFailure(`${refused.join('\n')}\n${done}`);
}
