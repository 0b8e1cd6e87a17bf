// `coatcheck client show`: one registered OAuth client.
import type { ClientView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatFields, toList } from '../../table.ts';

export const command = defineApiCommand({
  name: 'client show',
  describe: 'one registered OAuth client',
  usage: 'ID',
  about: `Shows a client, with its public keys in --output json; never a secret.

  coatcheck client show ledger`,
  needs: toNeeds('clients', 'get'),
  operands: { min: 1, max: 1 },
  table: {},
  run: async ({ client, operands: [id = ''], print }) => {
    const found = await client.send<ClientView>({ method: 'GET', path: ['clients', id] });
    await print(found, () =>
      formatFields([
        ['id', found.id],
        ['name', found.name],
        ['description', found.description],
        ['methods', toList(found.methods)],
        ['secrets', found.secrets],
        ['created', found.createdAt],
        ['created by', found.createdBy],
      ]),
    );
    return 0;
  },
});
