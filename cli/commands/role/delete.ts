// `coatcheck role delete`: takes roles of the API away; their live tokens run out without renewal, or end with them.
import type { RoleDeleted } from '../../../common/protocol/admin-api.ts';
import { flag } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatTable } from '../../table.ts';

export const command = defineApiCommand({
  name: 'role delete',
  describe: 'delete roles that the API keeps',
  usage: 'NAME…',
  about: `Deletes roles that were written through the API. Roles of files and TokenRole objects are deleted where they are.
Tokens that were issued by the role run out and are not renewed; --revoke ends them now.

  coatcheck role delete payments-checkout
  coatcheck role delete old-a old-b --revoke`,
  needs: toNeeds('roles', 'delete'),
  operands: { min: 1, max: 1000 },
  table: {
    revoke: flag({ flagOnly: true, default: false, doc: 'End the live tokens of the role too' }),
  },
  run: async ({ client, operands, settings, print }) => {
    const deleted: RoleDeleted[] = [];
    for (const name of operands)
      deleted.push(
        await client.send<RoleDeleted>({
          method: 'DELETE',
          path: ['roles', name],
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
