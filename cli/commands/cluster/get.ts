// `coatcheck cluster get`: one cluster; of one that the API keeps, the entry as YAML that can be committed and applied again.
import type { ClusterView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { toPlainText } from '../../plain-text.ts';
import { toYaml } from '../../yaml.ts';

export const command = defineApiCommand({
  name: 'cluster get',
  describe: 'print a cluster of the API as YAML, ready to commit',
  usage: 'NAME',
  about: `Prints the entry of a cluster that the API keeps; of one in the clusters file, the state it is in. Source and state go to
standard error; with --output json or yaml everything is one object on standard output.

  coatcheck cluster get edge > edge.yaml`,
  needs: toNeeds('clusters', 'get'),
  operands: { min: 1, max: 1 },
  table: {},
  run: async ({ client, operands: [name = ''], settings, print, io }) => {
    const cluster = await client.send<ClusterView>({ method: 'GET', path: ['clusters', name] });
    const { document } = cluster;
    await print(cluster, () =>
      toYaml(document === undefined ? cluster : { name, ...(document as object) }),
    );
    if (settings.output !== 'table') return 0;
    const { source, state, message } = cluster;
    const told = `source ${source}, ${state}${message === undefined ? '' : `: ${message}`}`;
    io.stderr(`${toPlainText(told)}\n`);
    return 0;
  },
});
