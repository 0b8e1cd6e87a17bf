// `coatcheck token show`: everything about one token but the token.
import type { TokenView } from '../../../common/protocol/admin-api.ts';
import { optional, text } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { formatFields, toList } from '../../table.ts';

export const command = defineApiCommand({
  name: 'token show',
  describe: 'everything about one token but the token',
  usage: 'ACCESSOR',
  about: `Shows a token by its accessor: the first 24 letters and digits after \`cc_\`, which lists, audit records and answers have.

  coatcheck token show 0aB1cD2eF3gH4iJ5kL6mN7oP`,
  needs: toNeeds('tokens', 'get'),
  operands: { min: 1, max: 1 },
  table: {
    namespace: optional(
      text({ flagOnly: true, doc: 'Of the token: for those whose right is for one namespace' }),
    ),
  },
  run: async ({ client, operands: [accessor = ''], settings: { namespace }, print }) => {
    const token = await client.send<TokenView>({
      method: 'GET',
      path: ['tokens', accessor],
      query: { namespace },
    });
    await print(token, () =>
      formatFields([
        ['accessor', token.accessor],
        ['kind', token.kind],
        ['name', token.name],
        ['description', token.description],
        ['subject', token.subject],
        ['pod', token.pod === undefined ? undefined : `${token.namespace}/${token.pod}`],
        ['pod uid', token.podUid],
        ['audience', token.audience],
        ['role', token.role],
        ['scopes', toList(token.scopes)],
        ['policies', toList(token.policies)],
        ['issued', token.issuedAt],
        ['expires', token.expiresAt],
        ['renewable until', token.maxExpiresAt],
        ['created by', token.createdBy],
      ]),
    );
    return 0;
  },
});
