// `coatcheck cluster list`: whom the broker believes, of the file and of the API, and how it stands with their keys.
import type { ClusterView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { listAll } from '../../pages.ts';
import { formatTable } from '../../table.ts';

const MAX_CLUSTERS = 10_000;

export const command = defineApiCommand({
  name: 'cluster list',
  describe: 'every cluster and issuer the broker believes, and how it stands with their keys',
  usage: '',
  about: `Lists the clusters and issuers of the file and of the API. SHADOWED ones lose against an entry of the file, INVALID ones do
not go together with another; what is wrong with an entry goes to standard error.

  coatcheck cluster list
  coatcheck cluster list -o json | jq '.items[] | select(.problems != [])'`,
  needs: toNeeds('clusters', 'list'),
  table: {},
  run: async ({ client, print, io }) => {
    const limit = MAX_CLUSTERS;
    const { items } = await listAll<ClusterView>(client, 'clusters', { query: {}, limit });
    await print({ items }, () =>
      formatTable(
        ['NAME', 'KIND', 'SOURCE', 'STATE', 'VALIDATION', 'KEYS FROM', 'KEYS AGE (S)', 'ISSUER'],
        items.map((one) => [
          one.own ? `${one.name} (own)` : one.name,
          one.kind,
          one.source,
          one.state,
          one.validation,
          one.keysFrom,
          one.keysAgeSeconds,
          one.issuer,
        ]),
      ),
    );
    for (const { name, message, problems } of items)
      for (const problem of [...(message === undefined ? [] : [message]), ...problems])
        io.stderr(`${name}: ${problem}\n`);
    return 0;
  },
});
