// `coatcheck client create`: registers an OAuth client, a service that asks the broker about tokens. Its secret is shown once.
import type { ClientCreate, ClientCreated } from '../../../common/protocol/admin-api.ts';
import { flag, optional, path, text } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { readJwksFile } from '../../jwks-file.ts';
import { toNeeds } from '../../needs.ts';
import { OUT_TABLE, withSecretOutput } from '../../secret-output.ts';
import { formatFields, toList } from '../../table.ts';

export const command = defineApiCommand({
  name: 'client create',
  describe: 'register an OAuth client; its secret is shown once',
  usage: 'ID',
  about: `Registers a client that authenticates at the broker, for introspection for example. Without --jwks-file it gets a secret,
printed alone on standard output; the broker keeps its hash. With --jwks-file it signs with its own key
(private_key_jwt) and gets none, unless --secret asks for one too.

  coatcheck client create ledger --name "Ledger service" --out ledger.secret
  coatcheck client create ci --jwks-file ci-public.jwks`,
  needs: toNeeds('clients', 'create'),
  operands: { min: 1, max: 1 },
  table: {
    name: optional(text({ flagOnly: true, doc: 'What people call it' })),
    description: optional(text({ flagOnly: true, doc: 'A sentence for those who find it later' })),
    jwksFile: optional(path({ flagOnly: true, doc: 'Its public keys, a JWKS' })),
    secret: flag({ flagOnly: true, default: false, doc: 'Make a secret beside its keys' }),
    ...OUT_TABLE,
  },
  run: async ({ client, operands: [id = ''], settings, io }) => {
    const { name, description, jwksFile, secret, out, output } = settings;
    const body: ClientCreate = {
      id,
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      ...(jwksFile !== undefined && { jwks: readJwksFile(jwksFile) }),
      ...(secret && { secret }),
    };
    const create = async () => {
      const created = await client.send<ClientCreated>({ method: 'POST', path: ['clients'], body });
      if (output === 'json') return JSON.stringify(created, undefined, 2);
      io.stderr(
        formatFields([
          ['id', created.id],
          ['name', created.name],
          ['methods', toList(created.methods)],
        ]),
      );
      return created.secret ?? '';
    };
    const isSecret = jwksFile === undefined || secret;
    if (isSecret || output === 'json') await withSecretOutput(out, io, create);
    else await create();
    if (isSecret) io.stderr('This is the only time the secret is shown.\n');
    return 0;
  },
});
