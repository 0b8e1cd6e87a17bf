// `coatcheck token create`: a static token, for what has no identity of its own. It is shown once.
import type { TokenCreate, TokenCreated } from '../../../common/protocol/admin-api.ts';
import { list, optional, text } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { toPlainText } from '../../plain-text.ts';
import { OUT_TABLE, withSecretOutput } from '../../secret-output.ts';
import { formatFields, toList } from '../../table.ts';

export const command = defineApiCommand({
  name: 'token create',
  describe: 'make a static token; it is shown once',
  usage: '--name NAME --ttl DURATION',
  about: `Makes a token by name and prints it alone on standard output; everything else goes to standard error. The broker keeps
its hash: nobody can show it again. You can give away only policies that you hold yourself.

  coatcheck token create --name ci-roles --policy coatcheck:roles:write --ttl 720h --out ci.token
  coatcheck token create --name legacy-job --audience payments --scope payments:read --ttl 12h`,
  needs: toNeeds('tokens', 'create'),
  table: {
    name: text({ flagOnly: true, doc: 'What people call it; unique among the live static tokens' }),
    ttl: text({
      flagOnly: true,
      doc: 'How long it lives: 12h, 1h30m, seconds; at most what the broker allows',
    }),
    audience: optional(
      text({ flagOnly: true, doc: 'For whom it is; without one it opens only the broker itself' }),
    ),
    policy: list({ flagOnly: true, default: [], doc: 'Policies, comma-separated or repeated' }),
    scope: list({ flagOnly: true, default: [], doc: 'Scopes, comma-separated or repeated' }),
    description: optional(text({ flagOnly: true, doc: 'A sentence for those who find it later' })),
    ...OUT_TABLE,
  },
  run: async ({ client, settings, io }) => {
    const { name, ttl, audience, policy, scope, description, out, output } = settings;
    const body: TokenCreate = {
      name,
      ttl,
      policies: policy,
      scopes: scope,
      ...(audience !== undefined && { audience }),
      ...(description !== undefined && { description }),
    };
    await withSecretOutput(out, io, async () => {
      const created = await client.send<TokenCreated>({ method: 'POST', path: ['tokens'], body });
      if (output === 'json') return JSON.stringify(created, undefined, 2);
      io.stderr(
        formatFields([
          ['accessor', created.accessor],
          ['name', created.name],
          ['policies', toList(created.policies)],
          ['audience', created.audience],
          ['expires', created.expiresAt],
        ]),
      );
      io.stderr(toPlainText('This is the only time the token is shown.').concat('\n'));
      return created.token;
    });
    return 0;
  },
});
