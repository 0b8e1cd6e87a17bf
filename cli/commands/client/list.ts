// `coatcheck client list`: the registered OAuth clients.
import type { ClientView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { listAll } from '../../pages.ts';
import { formatTable, toList } from '../../table.ts';

const MAX_CLIENTS = 100_000;

export const command = defineApiCommand({
  name: 'client list',
  describe: 'registered OAuth clients',
  usage: '',
  about: `Lists the registered clients and how each may authenticate; never a secret.

  coatcheck client list`,
  needs: toNeeds('clients', 'list'),
  table: {},
  run: async ({ client, print }) => {
    const { items } = await listAll<ClientView>(client, 'clients', {
      query: {},
      limit: MAX_CLIENTS,
    });
    await print({ items }, () =>
      formatTable(
        ['ID', 'NAME', 'METHODS', 'SECRETS', 'CREATED', 'BY'],
        items.map(({ id, name, methods, secrets, createdAt, createdBy }) => [
          id,
          name,
          toList(methods),
          secrets,
          createdAt,
          createdBy,
        ]),
      ),
    );
    return 0;
  },
});
