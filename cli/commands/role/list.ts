// `coatcheck role list`: every role the broker knows, of whatever source, and the state it is in.
import type { RoleView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { listAll } from '../../pages.ts';
import { formatTable, toList } from '../../table.ts';

const MAX_ROLES = 100_000;

export const command = defineApiCommand({
  name: 'role list',
  describe: 'every role of every source, and the state it is in',
  usage: '',
  about: `Lists the roles of files, TokenRole objects and the API. SHADOWED roles lose against one of the same name in a source
that goes first; INVALID ones are not used.

  coatcheck role list
  coatcheck role list -o json | jq '.items[] | select(.state != "Ready")'`,
  needs: toNeeds('roles', 'list'),
  table: {},
  run: async ({ client, print, io }) => {
    const { items } = await listAll<RoleView>(client, 'roles', { query: {}, limit: MAX_ROLES });
    await print({ items }, () =>
      formatTable(
        ['NAME', 'AUDIENCE', 'SOURCE', 'STATE', 'OVERLAPS'],
        items.map(({ name, audience, source, state, overlaps }) => [
          name,
          audience,
          source,
          state,
          toList(overlaps),
        ]),
      ),
    );
    for (const { name, state, message } of items)
      if (state !== 'Ready' && message !== undefined) io.stderr(`${name}: ${message}\n`);
    return 0;
  },
});
