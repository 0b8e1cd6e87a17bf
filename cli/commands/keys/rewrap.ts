// `coatcheck keys rewrap`: seals every signing key anew, after the sealing key was rotated.
import type { KeysRewrapped } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatFields } from '../../table.ts';

export const command = defineApiCommand({
  name: 'keys rewrap',
  describe: 'seal every signing key anew with the newest sealing key',
  usage: '',
  about: `Seals every signing key in the store with the newest sealing key, so that the older one can be taken out of its Secret.
Signing keys, tokens and receivers are not touched. Exit code 1 where a key could not be opened and stays as it was.

  coatcheck keys rewrap && coatcheck keys list`,
  needs: toNeeds('keys', 'update'),
  table: {},
  run: async ({ client, print }) => {
    const done = await client.send<KeysRewrapped>({ method: 'POST', path: ['keys', 'rewrap'] });
    await print(done, () =>
      formatFields([
        ['rewrapped', done.rewrapped],
        ['sealed by', done.sealedBy],
        ['unreadable', done.unreadable],
      ]),
    );
    return done.unreadable > 0 ? 1 : 0;
  },
});
