// `coatcheck client rotate-secret`: a new secret for a client, shown once; the one before goes on unless it is revoked.
import type {
  ClientCreated,
  ClientView,
  SecretRotate,
} from '../../../common/protocol/admin-api.ts';
import { flag, type SettingsTable } from '../../../common/settings.ts';
import { type ApiContext, defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { OUT_TABLE, withSecretOutput } from '../../secret-output.ts';
import { formatFields } from '../../table.ts';

export const command = defineApiCommand({
  name: 'client rotate-secret',
  describe: 'give a client a new secret; it is shown once',
  usage: 'ID',
  about: `Makes a new secret and prints it alone on standard output. The last one goes on beside it, so that the client can be
changed without a gap; --drop-old ends it afterwards.

  coatcheck client rotate-secret ledger --out ledger.secret
  coatcheck client rotate-secret ledger --drop-old          # the client has the new one
  coatcheck client rotate-secret ledger --revoke-old        # it has leaked`,
  needs: toNeeds('clients', 'update'),
  operands: { min: 1, max: 1 },
  table: {
    dropOld: flag({
      flagOnly: true,
      default: false,
      doc: 'Only end the secret before the newest; make none',
    }),
    revokeOld: flag({ flagOnly: true, default: false, doc: 'End the secrets before it at once' }),
    ...OUT_TABLE,
  },
  findProblems: ({ dropOld, revokeOld }) =>
    dropOld && revokeOld ? ['--drop-old and --revoke-old exclude one another'] : [],
  run: async (context) => {
    const { client, operands, settings, io } = context;
    const [id = ''] = operands;
    const { revokeOld, dropOld, out, output } = settings;
    if (dropOld) return dropOldSecret(context);
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

async function dropOldSecret({
  client,
  operands: [id = ''],
  print,
}: Pick<ApiContext<SettingsTable>, 'client' | 'operands' | 'print'>): Promise<number> {
  const changed = await client.send<ClientView>({
    method: 'DELETE',
    path: ['clients', id, 'secret'],
  });
  await print(changed, () =>
    formatFields([
      ['id', changed.id],
      ['secrets', changed.secrets],
    ]),
  );
  return 0;
}
