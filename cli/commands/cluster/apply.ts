// `coatcheck cluster apply`: files in, clusters at the broker. The broker is asked about every entry first; where it refuses
// one, none is written.
import { withoutFileFlags } from '../../../common/command.ts';
import type { ClusterApplied } from '../../../common/protocol/admin-api.ts';
import { flag, optional, path } from '../../../common/settings.ts';
import { type ApiContext, defineApiCommand } from '../../api-command.ts';
import { type ClusterEntry, readClusterFiles } from '../../cluster-files.ts';
import { ApiFailure } from '../../failure.ts';
import { readJwksFile } from '../../jwks-file.ts';
import { toNeeds } from '../../needs.ts';
import { formatTable } from '../../table.ts';

const TABLE = {
  filename: optional(
    path({
      flagOnly: true,
      short: 'f',
      doc: 'File with one entry of the clusters table or a list of them, - for standard input; may be repeated and may take several',
    }),
  ),
  jwksFile: optional(
    path({
      flagOnly: true,
      doc: "The cluster's public keys now, a JWKS, with which one whose keys are pushed is registered; for one entry alone",
    }),
  ),
  dryRun: flag({ flagOnly: true, default: false, doc: 'Only say what would be done' }),
} as const;

export const command = defineApiCommand({
  name: 'cluster apply',
  describe: 'register clusters from files at the broker',
  usage: '-f FILE…',
  about: `Registers clusters and issuers through the API, or changes them, and says which are created, changed or unchanged. Every entry
is checked by the broker before the first is written: where one is refused, nothing is done. What is not in the files
stays as it is. A cluster that the broker cannot reach is registered with its public keys, which its own API server gives.

  coatcheck cluster apply -f staging.yaml --dry-run
  kubectl --context edge get --raw /openid/v1/jwks > edge.jwks
  coatcheck cluster apply -f edge.yaml --jwks-file edge.jwks`,
  needs: toNeeds('clusters', 'update'),
  operands: { min: 0, max: 1000 },
  table: TABLE,
  prepare: withoutFileFlags,
  findProblems: (_settings, operands) =>
    operands.length === 0 ? ['-f is required: a file of clusters'] : [],
  run: async (context) => {
    const { settings, operands, io, print } = context;
    const { jwksFile, dryRun } = settings;
    const jwks = jwksFile === undefined ? undefined : readJwksFile(jwksFile);
    const entries = await readClusterFiles(operands, io);
    if (jwks && entries.length > 1)
      throw new ApiFailure('--jwks-file goes with one entry alone; nothing was written');
    const complete = jwks ? entries.map((entry) => withKeys(entry, jwks)) : entries;
    const checked = await applyAll(context, complete, true);
    const applied = dryRun ? checked : await applyAll(context, complete, false);
    await print({ items: applied }, () =>
      formatTable(
        ['NAME', 'RESULT'],
        applied.map(({ cluster, result }) => [
          cluster.name,
          dryRun ? `${result} (dry run)` : result,
        ]),
      ),
    );
    return 0;
  },
});

function withKeys(entry: ClusterEntry, jwks: object): ClusterEntry {
  return { ...entry, document: { ...entry.document, keys: { pushed: { jwks } } } };
}

/** @throws ApiFailure with every refusal of a dry run; of the real one with the first, and what was done before it */
async function applyAll(
  { client }: ApiContext<typeof TABLE>,
  entries: readonly ClusterEntry[],
  dryRun: boolean,
): Promise<readonly ClusterApplied[]> {
  const applied: ClusterApplied[] = [];
  const refused: string[] = [];
  for (const { name, where, document } of entries) {
    try {
      applied.push(
        await client.send<ClusterApplied>({
          method: 'PUT',
          path: ['clusters', name],
          ...(dryRun && { query: { dryRun: true } }),
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
    : `written before: ${applied.map(({ cluster }) => cluster.name).join(', ') || 'none'}`;
  throw new ApiFailure(`${refused.join('\n')}\n${done}`);
}
