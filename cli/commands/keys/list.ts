// `coatcheck keys list`: the broker's signing keys, and where each is in its life.
import type { KeyList } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatTable } from '../../table.ts';

export const command = defineApiCommand({
  name: 'keys list',
  describe: 'signing keys, and where each is in its life',
  usage: '',
  about: `Lists the keys that sign client tokens: upcoming (announced, signs from the time shown), signing, published (signs no more,
tokens of it still live), unreadable (no sealing key here opens it; it is not in the JWKS). Exit code 1 where one is
unreadable.

  coatcheck keys list`,
  needs: toNeeds('keys', 'list'),
  table: {},
  run: async ({ client, print, io }) => {
    const keys = await client.send<KeyList>({ method: 'GET', path: ['keys'] });
    await print(keys, () =>
      formatTable(
        ['KID', 'ALGORITHM', 'STATE', 'CREATED', 'SIGNS FROM', 'RETIRES', 'SEALED BY'],
        keys.items.map((key) => [
          key.kid,
          key.algorithm,
          key.state,
          key.createdAt,
          key.signsFrom,
          key.retiresAt,
          key.sealedBy,
        ]),
      ),
    );
    if (keys.source === 'folder') io.stderr('The keys are files of a folder: change them there.\n');
    return keys.items.some(({ state }) => state === 'unreadable') ? 1 : 0;
  },
});
