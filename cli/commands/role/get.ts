// `coatcheck role get`: one role as YAML that can be committed and applied again.
import type { RoleView } from '../../../common/protocol/admin-api.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { toPlainText } from '../../plain-text.ts';
import { toYaml } from '../../yaml.ts';

export const command = defineApiCommand({
  name: 'role get',
  describe: 'print a role as YAML, ready to commit',
  usage: 'NAME',
  about: `Prints the TokenRole document of a role. Its source and state go to standard error; with --output json or yaml
everything is one object on standard output.

  coatcheck role get payments-checkout > roles/payments-checkout.yaml`,
  needs: toNeeds('roles', 'get'),
  operands: { min: 1, max: 1 },
  table: {},
  run: async ({ client, operands: [name = ''], settings, print, io }) => {
    const role = await client.send<RoleView>({ method: 'GET', path: ['roles', name] });
    const document = toYaml(role.document);
    await print(role, () => document);
    if (settings.output === 'table')
      io.stderr(
        toPlainText(
          `source ${role.source}, ${role.state}${role.message === undefined ? '' : `: ${role.message}`}`,
        ).concat('\n'),
      );
    return 0;
  },
});
