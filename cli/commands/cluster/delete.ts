// `coatcheck cluster delete`: takes clusters of the API away; nothing of them is believed from then on.
import type { ClusterDeleted } from '../../../common/protocol/admin-api.ts';
import { flag } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatTable } from '../../table.ts';

export const command = defineApiCommand({
  name: 'cluster delete',
  describe: 'delete clusters that the API keeps: nothing of them is believed any more',
  usage: 'NAME…',
  about: `Deletes clusters that were registered through the API; those of the clusters file are deleted there. Their tokens are
refused from then on, and client tokens that were given for them wherever the broker is asked. Should an entry of the name
come back, these count again as long as they have not ended: --revoke ends them for good.

  coatcheck cluster delete edge
  coatcheck cluster delete edge --revoke`,
  needs: toNeeds('clusters', 'delete'),
  operands: { min: 1, max: 1000 },
  table: {
    revoke: flag({
      flagOnly: true,
      default: false,
      doc: 'End the live client tokens of the cluster too',
    }),
  },
  run: async ({ client, operands, settings, print }) => {
    const deleted: ClusterDeleted[] = [];
    for (const name of operands)
      deleted.push(
        await client.send<ClusterDeleted>({
          method: 'DELETE',
          path: ['clusters', name],
          ...(settings.revoke && { query: { revoke: true } }),
        }),
      );
    await print({ items: deleted }, () =>
      formatTable(
        ['NAME', 'RESULT', 'TOKENS REVOKED'],
        deleted.map(({ name, revoked }) => [name, 'deleted', revoked]),
      ),
    );
    return 0;
  },
});
