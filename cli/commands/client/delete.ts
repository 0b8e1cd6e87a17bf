// `coatcheck client delete`: a client that may authenticate no more.
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatTable } from '../../table.ts';

export const command = defineApiCommand({
  name: 'client delete',
  describe: 'delete registered OAuth clients',
  usage: 'ID…',
  about: `Deletes clients; their next request is refused.

  coatcheck client delete ledger`,
  needs: toNeeds('clients', 'delete'),
  operands: { min: 1, max: 1000 },
  table: {},
  run: async ({ client, operands, print }) => {
    for (const id of operands) await client.send({ method: 'DELETE', path: ['clients', id] });
    const items = operands.map((id) => ({ id, result: 'deleted' }));
    await print({ items }, () =>
      formatTable(
        ['ID', 'RESULT'],
        items.map(({ id, result }) => [id, result]),
      ),
    );
    return 0;
  },
});
