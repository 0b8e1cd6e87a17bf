// `coatcheck token list`: live tokens that the broker keeps, and JWTs as far as its decisions remember them.
import type { TokenView } from '../../../common/protocol/admin-api.ts';
import { integer, oneOf, optional } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { listAll } from '../../pages.ts';
import {
  FILTER_TABLE,
  findFilterProblems,
  formatTokens,
  toTokenQuery,
} from '../../token-filter.ts';

export const command = defineApiCommand({
  name: 'token list',
  describe: 'live tokens, by pod, role, namespace, audience or subject',
  usage: '',
  about: `Lists live tokens, newest first; never their text. JWTs are not stored: they are listed from the decisions that the
broker still has (--kind jwt shows them alone).

  coatcheck token list --namespace shop
  coatcheck token list --pod shop/checkout-6d5f8-x2x9p -o json`,
  needs: toNeeds('tokens', 'list'),
  table: {
    ...FILTER_TABLE,
    kind: optional(
      oneOf({
        flagOnly: true,
        values: ['client', 'static', 'jwt'],
        doc: 'Given out by an exchange, made by name, or not stored at all',
      }),
    ),
    limit: integer({ flagOnly: true, default: 200, min: 1, max: 100_000, doc: 'At most so many' }),
  },
  findProblems: (settings) => findFilterProblems(settings, { isRequired: false }),
  run: async ({ client, settings, print, io }) => {
    const { limit, kind } = settings;
    const { query } = toTokenQuery(settings);
    const { items, hasMore } = await listAll<TokenView>(client, 'tokens', {
      query: { ...query, kind },
      limit,
    });
    await print({ items }, () => formatTokens(items));
    if (hasMore) io.stderr(`There are more than ${limit}: --limit shows them.\n`);
    return 0;
  },
});
