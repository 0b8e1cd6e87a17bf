// The table as it changes: who counts, who does not and why, and what stays the same object.
import { expect } from 'chai';
import { createClusterTable } from '../../../broker/identity/cluster-table.ts';
import type { Cluster } from '../../../broker/identity/clusters.ts';

const OWN_ISSUER = 'https://broker.test';

function toEntry(name: string, change: object = {}): Cluster {
  return {
    name,
    kind: 'kubernetes',
    own: false,
    issuers: ['https://shared.test'],
    validation: 'offline',
    keys: { from: 'url', url: `https://${name}.test/keys` },
    algorithms: ['RS256'],
    refreshSeconds: 300,
    maxStalenessSeconds: 3600,
    cooldownSeconds: 10,
    ...change,
  } as Cluster;
}

const OWN = toEntry('local', { own: true });
const toRow = (name: string, version: number, change: object = {}) => ({
  name,
  version,
  parsed: { ok: true, cluster: toEntry(name, { isRegistered: true, ...change }) } as const,
});

function createTable(clusters: readonly Cluster[] = [OWN]) {
  const table = createClusterTable({ clusters, ownIssuers: [OWN_ISSUER] });
  let changes = 0;
  table.onChange(() => {
    changes += 1;
  });
  const names = () => table.current().map(({ name }) => name);
  const findReport = (name: string, source: string) =>
    table.reports().find((one) => one.name === name && one.source === source);
  return { table, names, findReport, changes: () => changes };
}

describe('the table of clusters', () => {
  it('adds, changes and takes away what is registered, and tells of it', () => {
    const { table, names, changes } = createTable();
    table.replaceRegistered([toRow('edge', 1), toRow('alpha', 2)]);
    expect(names()).to.deep.equal(['local', 'alpha', 'edge']);
    table.replaceRegistered([toRow('edge', 3, { refreshSeconds: 60 })]);
    expect(names()).to.deep.equal(['local', 'edge']);
    expect(table.current()[1]).to.include({ refreshSeconds: 60 });
    table.replaceRegistered([]);
    expect(names()).to.deep.equal(['local']);
    expect(changes()).to.equal(3);
  });

  it('keeps the object of an entry that says the same, and tells nobody where nothing changed', () => {
    const { table, changes } = createTable();
    table.replaceRegistered([toRow('edge', 1)]);
    const [own, edge] = table.current();
    table.replaceRegistered([toRow('edge', 2)]);
    table.replaceFile([{ ...OWN }]);
    expect(table.current()[0]).to.equal(own);
    expect(table.current()[1]).to.equal(edge);
    expect(changes()).to.equal(1);
  });

  it('lets the file win over the API, reports the loser, and lets it count once the file has it no more', () => {
    const { table, names, findReport } = createTable();
    table.replaceRegistered([toRow('edge', 1)]);
    table.replaceFile([OWN, toEntry('edge')]);
    expect(table.current().find(({ name }) => name === 'edge')?.isRegistered).to.equal(undefined);
    expect(findReport('edge', 'api')).to.include({ state: 'Shadowed' });
    expect(names()).to.deep.equal(['local', 'edge']);
    table.replaceFile([OWN]);
    expect(table.current().find(({ name }) => name === 'edge')?.isRegistered).to.equal(true);
  });

  const oidc = { kind: 'oidc', maxTokenAgeSeconds: 60 };
  const conflicts: readonly { title: string; change: object; says: RegExp }[] = [
    { title: "the broker's own issuer", change: { issuers: [OWN_ISSUER] }, says: /broker itself/ },
    { title: 'the issuer of a cluster, as an OIDC issuer', change: oidc, says: /only Kubernetes/ },
    {
      title: 'the issuer of a cluster without keys',
      change: { issuers: ['https://keyless.test'] },
      says: /without keys/,
    },
  ];
  for (const { title, change, says } of conflicts) {
    it(`does not count an entry with ${title}, and says why before it is written`, () => {
      const keyless = toEntry('keyless', { issuers: ['https://keyless.test'], keys: undefined });
      const { table, names, findReport } = createTable([OWN, keyless]);
      const row = toRow('edge', 1, change);
      expect(table.findConflict(row.parsed.cluster)?.problem).to.match(says);
      table.replaceRegistered([row]);
      expect(names()).to.deep.equal(['local', 'keyless']);
      expect(findReport('edge', 'api')?.message).to.match(says);
      expect(table.findConflict(toEntry('edge'))).to.equal(undefined);
    });
  }

  it('of two that do not go together counts the one that was there first', () => {
    const { table, findReport } = createTable();
    const issuers = ['https://ci.test'];
    table.replaceRegistered([toRow('a', 9, { ...oidc, issuers }), toRow('b', 2, { issuers })]);
    expect(findReport('a', 'api')).to.include({ state: 'Invalid' });
    expect(findReport('b', 'api')).to.include({ state: 'Ready' });
  });

  it('reports what is no entry any more', () => {
    const { table, findReport } = createTable();
    const problems = [{ path: 'keys', problem: 'must be good' }];
    table.replaceRegistered([{ name: 'edge', version: 1, parsed: { ok: false, problems } }]);
    expect(findReport('edge', 'api')).to.deep.include({
      state: 'Invalid',
      message: 'keys must be good',
    });
  });

  const fixed: readonly { title: string; file: readonly Cluster[]; says: RegExp }[] = [
    { title: 'another own cluster', file: [toEntry('other', { own: true })], says: /restart/ },
    { title: 'no own cluster', file: [toEntry('local')], says: /restart/ },
    {
      title: "the broker's own issuer",
      file: [OWN, toEntry('b', { issuers: [OWN_ISSUER] })],
      says: /broker itself/,
    },
  ];
  for (const { title, file, says } of fixed) {
    it(`does not take a file with ${title} while it runs, and goes on as before`, () => {
      const { table, changes } = createTable();
      expect(() => table.replaceFile(file)).to.throw(says);
      expect(table.current()).to.deep.equal([OWN]);
      expect(changes()).to.equal(0);
    });
  }
});
