// `coatcheck keys rotate`: announces a new signing key.
import type { KeyView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatFields } from '../../table.ts';

export const command = defineApiCommand({
  name: 'keys rotate',
  describe: 'announce a new signing key; it signs ten minutes later',
  usage: '',
  about: `Makes a new signing key. It is in the JWKS at once and signs ten minutes later, when every receiver can know it. The key
before stays published until its last token has ended. Refused while another new key waits for its turn.

  coatcheck keys rotate`,
  needs: toNeeds('keys', 'create'),
  table: {},
  run: async ({ client, print }) => {
    const key = await client.send<KeyView>({ method: 'POST', path: ['keys', 'rotate'] });
    await print(key, () =>
      formatFields([
        ['kid', key.kid],
        ['algorithm', key.algorithm],
        ['signs from', key.signsFrom],
        ['sealed by', key.sealedBy],
      ]),
    );
    return 0;
  },
});
