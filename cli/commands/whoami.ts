// `coatcheck whoami`: who the broker takes the credential for, and what that one may do.
import type { WhoamiView } from '../../common/protocol/admin-api.ts';
import { optional, text } from '../../common/settings.ts';
import { defineApiCommand } from '../api-command.ts';
import { formatFields, formatTable, toList } from '../table.ts';

/** As far as the broker tells it. */
type Whoami = WhoamiView & {
  readonly missing?: readonly { readonly capability: string; readonly grantedBy: string }[];
};

export const command = defineApiCommand({
  name: 'whoami',
  describe: 'who the broker takes you for, and what you may do',
  usage: '',
  about: `Shows the subject of the credential, its policies and rights, and for each right that is missing what would grant it.

  coatcheck whoami
  coatcheck whoami --namespace shop      # with the rights for that namespace`,
  needs: 'own',
  table: {
    namespace: optional(text({ flagOnly: true, doc: 'Count rights for this namespace too' })),
  },
  run: async ({ client, settings: { namespace }, print }) => {
    const me = await client.send<Whoami>({
      method: 'GET',
      path: ['whoami'],
      query: { namespace },
    });
    await print(me, () => {
      const fields = formatFields([
        ['subject', me.subject],
        ['by', me.via],
        ['policies', toList(me.policies)],
        ['rights', toList(me.capabilities)],
        ['token', me.token?.name ?? me.token?.accessor],
        ['expires', me.token?.expiresAt],
      ]);
      const missing = me.missing ?? [];
      if (missing.length === 0) return fields;
      const rows = missing.map(({ capability, grantedBy }) => [capability, grantedBy]);
      return `${fields}\n${formatTable(['MISSING', 'GRANTED BY'], rows)}`;
    });
    return 0;
  },
});
