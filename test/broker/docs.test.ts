// docs/broker.md in step with the code: endpoints, parameters. Its other tables are generated (scripts/generate.ts).
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import * as tokenExchange from '../../broker/dialects/oauth/grants/token-exchange.ts';
import { METADATA_PATHS } from '../../broker/dialects/oauth/metadata.ts';
import { PATH_INTROSPECT, PATH_REVOKE, PATH_TOKEN } from '../../common/protocol/oauth.ts';

const page = readFileSync(path.join(import.meta.dirname, '../../docs/broker.md'), 'utf8');

/** First cells of the table below a heading. */
function readTable(heading: string): string[] {
  const [, section = ''] = page.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  return [...own.matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell = '']) => cell);
}

describe('docs/broker.md', () => {
  it('lists the endpoints', () => {
    expect(readTable('Endpoints')).to.have.members([
      PATH_TOKEN,
      PATH_INTROSPECT,
      PATH_REVOKE,
      ...METADATA_PATHS,
    ]);
  });

  it('lists the parameters of a token exchange', () => {
    expect(readTable('Token exchange')).to.have.members([...tokenExchange.parameters]);
  });
});
