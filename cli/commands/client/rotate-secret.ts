// `coatcheck client rotate-secret`: a new secret for a client, shown once; the one before goes on unless it is revoked.
import type { ClientCreated, SecretRotate } from '../../../common/protocol/admin-api.ts';
import { flag } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { OUT_TABLE, withSecretOutput } from '../../secret-output.ts';
import { formatFields } from '../../table.ts';

export const command = defineApiCommand({
  name: 'client rotate-secret',
  describe: 'give a client a new secret; it is shown once',
  usage: 'ID',
  about: `Makes a new secret and prints it alone on standard output. The last one goes on beside it, so that the client can be
changed without a gap; rotate again with --revoke-old, or once it is changed, to end it.

  coatcheck client rotate-secret ledger --out ledger.secret
  coatcheck client rotate-secret ledger --revoke-old        # it has leaked`,
  needs: toNeeds('clients', 'update'),
  operands: { min: 1, max: 1 },
  table: {
    revokeOld: flag({ flagOnly: true, default: false, doc: 'End the secrets before it at once' }),
    ...OUT_TABLE,
  },
  run: async ({ client, operands: [id = ''], settings, io }) => {
    const { revokeOld, out, output } = settings;
    const body: SecretRotate = { revokeOld };
    await withSecretOutput(out, io, async () => {
      const changed = await client.send<ClientCreated>({
        method: 'POST',
        path: ['clients', id, 'secret'],
        body,
      });
      if (output === 'json') return JSON.stringify(changed, undefined, 2);
      io.stderr(
        formatFields([
          ['id', changed.id],
          ['secrets', changed.secrets],
        ]),
      );
      return changed.secret ?? '';
    });
    io.stderr('This is the only time the secret is shown.\n');
    return 0;
  },
});
