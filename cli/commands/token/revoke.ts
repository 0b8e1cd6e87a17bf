// `coatcheck token revoke`: ends tokens, by accessor or in bulk. Of JWTs, which nobody stores, those issued until now are
// refused from now on.
import type { TokensRevoked, TokenView } from '../../../common/protocol/admin-api.ts';
import { type ApiContext, defineApiCommand } from '../../api-command.ts';
import { confirm, YES_TABLE } from '../../confirm.ts';
import { toNeeds } from '../../needs.ts';
import { listAll } from '../../pages.ts';
import { formatFields, formatTable } from '../../table.ts';
import { FILTER_TABLE, findFilterProblems, toTokenQuery } from '../../token-filter.ts';

const TABLE = { ...FILTER_TABLE, ...YES_TABLE } as const;
/** Counted before asking; beyond it the question says "more than". */
const MAX_COUNTED = 1000;

export const command = defineApiCommand({
  name: 'token revoke',
  describe: 'end tokens now: by accessor, or all of a pod, role, namespace, audience, subject',
  usage: '(ACCESSOR… | --pod NS/NAME | --role NAME | --namespace NS | --audience A | --subject S)',
  about: `Ends tokens at once, on every replica. Flags narrow one another: --role a --namespace shop is both. In bulk it shows how
many are meant and asks for the name to be typed. JWTs that were issued until now and fit are refused by the broker
from now on; a receiver that only checks signatures does not learn of it before they expire.

  coatcheck token revoke 0aB1cD2eF3gH4iJ5kL6mN7oP
  coatcheck token revoke --pod shop/checkout-6d5f8-x2x9p
  coatcheck token revoke --role payments-checkout --yes`,
  needs: toNeeds('tokens', 'delete'),
  operands: { min: 0, max: 1000 },
  table: TABLE,
  findProblems: (settings, operands) => {
    if (operands.length === 0) return findFilterProblems(settings, { isRequired: true });
    // The namespace may: it is how those ask whose right is for one namespace.
    const isMixed = Object.keys(FILTER_TABLE).some(
      (name) => name !== 'namespace' && settings[name as keyof typeof FILTER_TABLE] !== undefined,
    );
    return isMixed ? ['accessors and filters cannot stand beside one another'] : [];
  },
  run: (context) =>
    context.operands.length > 0 ? revokeByAccessor(context) : revokeInBulk(context),
});

async function revokeByAccessor({
  client,
  operands,
  settings: { namespace },
  print,
}: ApiContext<typeof TABLE>): Promise<number> {
  const items: (TokensRevoked & { readonly accessor: string })[] = [];
  for (const accessor of operands) {
    const done = await client.send<TokensRevoked>({
      method: 'DELETE',
      path: ['tokens', accessor],
      query: { namespace },
    });
    items.push({ accessor, ...done });
  }
  await print({ items }, () =>
    formatTable(
      ['ACCESSOR', 'RESULT'],
      items.map(({ accessor, revoked }) => [
        accessor,
        revoked > 0 ? 'revoked' : 'refused from now on',
      ]),
    ),
  );
  return 0;
}

async function revokeInBulk(context: ApiContext<typeof TABLE>): Promise<number> {
  const { client, settings, print, io } = context;
  const { query, told, name } = toTokenQuery(settings);
  if (!settings.yes) {
    const { items, hasMore } = await listAll<TokenView>(client, 'tokens', {
      query: { ...query },
      limit: MAX_COUNTED,
    });
    const count = `${hasMore ? 'more than ' : ''}${items.length}`;
    const what = `${count} live tokens of ${told} end now, and its JWTs issued until now are refused`;
    if (!(await confirm(io, { what, name, yes: false }))) return 1;
  }
  const done = await client.send<TokensRevoked>({
    method: 'POST',
    path: ['tokens', 'revoke'],
    query: { namespace: query.namespace },
    body: query,
  });
  await print(done, () => formatRevoked(done));
  return 0;
}

function formatRevoked({ revoked, deniedBefore }: TokensRevoked): string {
  return formatFields([
    ['revoked', revoked],
    ['JWTs refused', deniedBefore === undefined ? undefined : `issued before ${deniedBefore}`],
  ]);
}
