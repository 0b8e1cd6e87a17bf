// What the documents name is there: metrics, links and functions. (test/broker/docs.test.ts holds docs/broker.md to the code.)
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { createMetrics } from '../../webhook/metrics.ts';
import { ROOT, readSources } from './sources.ts';

const NAME = /\bcoatcheck_(?:webhook|broker|controller|console)_[a-z_]+\b/g;

function findNames(text: string): Set<string> {
  return new Set([...text.matchAll(NAME)].map(([name]) => name));
}

const readPage = (name: string) => readFileSync(path.join(ROOT, 'docs', name), 'utf8');

describe('structure: metrics', () => {
  const operations = findNames(readPage('operations.md'));

  it('of the webhook are in docs/operations.md, and no others', () => {
    const names = createMetrics()
      .registry.getMetricsAsArray()
      .map(({ name }) => name);
    const ours = names.filter((name) => name.startsWith('coatcheck_'));
    expect([...operations].filter((name) => name.includes('_webhook_')).sort()).to.deep.equal(
      ours.sort(),
    );
  });

  it('of the broker that docs/operations.md names are in docs/broker.md, which is held to the code', () => {
    const known = findNames(readPage('broker.md'));
    const named = [...operations].filter((name) => name.includes('_broker_'));
    expect(named).not.to.deep.equal([]);
    expect(named.filter((name) => !known.has(name))).to.deep.equal([]);
  });
});

describe('structure: links between the documents', () => {
  const pages = [
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'CHANGELOG.md',
  ].concat(
    readdirSync(path.join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.md'))
      .map((file) => path.join('docs', file)),
  );
  for (const page of pages) {
    it(`of ${page} lead somewhere`, () => {
      const text = readFileSync(path.join(ROOT, page), 'utf8');
      const broken = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !exists(path.join(ROOT, path.dirname(page), target)));
      expect(broken).to.deep.equal([]);
    });
  }
});

describe('structure: ARCHITECTURE.md', () => {
  it('names functions that are there', () => {
    const text = readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8');
    const section = text.split('## Functions to grep')[1] ?? '';
    const named = [...section.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
    expect(named.length).to.be.greaterThan(20);
    const defined = new Set(
      readSources().flatMap((source) =>
        [...source.text.matchAll(/^export (?:async )?function (\w+)/gm)].map(([, name]) => name),
      ),
    );
    expect(named.filter((name) => !defined.has(name))).to.deep.equal([]);
  });
});

function exists(target: string): boolean {
  try {
    return readdirSync(path.dirname(target)).includes(path.basename(target));
  } catch {
    return false;
  }
}

describe('structure: suites on a node', () => {
  it('are each run by a tier of make test-cluster', () => {
    const tiers = readFileSync(path.join(ROOT, 'scripts/test-cluster.ts'), 'utf8');
    const suites = readdirSync(path.join(ROOT, 'test/cluster')).filter((name) =>
      name.startsWith('node-'),
    );
    expect(suites.length).to.be.greaterThan(5);
    const missing = suites.filter(
      (name) =>
        !tiers.includes(`'${name.slice('node-'.length)}'`) &&
        !tiers.includes(`test/cluster/${name}/`),
    );
    expect(missing).to.deep.equal([]);
  });
});
