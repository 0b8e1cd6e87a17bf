// docs/broker.md in step with the code: endpoints, parameters, audit fields, metrics.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { toAuditRecord } from '../../broker/audit.ts';
import * as tokenExchange from '../../broker/dialects/oauth/grants/token-exchange.ts';
import { METADATA_PATHS } from '../../broker/dialects/oauth/metadata.ts';
import { createMetrics, METRICS_PREFIX } from '../../broker/metrics.ts';
import { PATH_TOKEN } from '../../common/protocol/oauth.ts';

const page = readFileSync(path.join(import.meta.dirname, '../../docs/broker.md'), 'utf8');

/** First cells of the table below a heading. */
function readTable(heading: string): string[] {
  const [, section = ''] = page.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  return [...own.matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell = '']) => cell);
}

describe('docs/broker.md', () => {
  it('lists the endpoints', () => {
    expect(readTable('Endpoints')).to.have.members([PATH_TOKEN, ...METADATA_PATHS]);
  });

  it('lists the parameters of a token exchange', () => {
    expect(readTable('Token exchange')).to.have.members([...tokenExchange.parameters]);
  });

  it('lists the fields of an audit record', () => {
    const record = toAuditRecord({
      id: 'id',
      time: 'now',
      dialect: 'oauth',
      outcome: 'deny',
      tried: [],
    });
    expect(readTable('Audit')).to.deep.equal(Object.keys(record));
  });

  it('lists the metrics and their labels', async () => {
    const metrics = createMetrics({ withProcess: false });
    metrics.watch({
      roles: () => 0,
      roleProblems: () => 0,
      signingKeys: () => 0,
      auditPendingBytes: () => 0,
      certificateNotAfter: () => 0,
    });
    const names = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    expect(readTable('Metrics')).to.have.members(names);
    for (const name of names) {
      const labels = (metrics.registry.getSingleMetric(name) as unknown as { labelNames: string[] })
        .labelNames;
      const row = page.split('\n').find((line) => line.startsWith(`| \`${name}\` |`));
      const documented = [...(row?.split('|')[2] ?? '').matchAll(/`(\w+)`/g)].map(
        ([, label]) => label,
      );
      expect(documented, name).to.deep.equal(labels);
      expect(name.startsWith(METRICS_PREFIX)).to.equal(true);
    }
  });
});
