// The clusters file while the broker runs: read again as it changes, and whatever is wrong with it changes nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { type ClustersFile, openClusters } from '../../broker/clusters-file.ts';
import { createReloads, RELOAD_MS } from '../../broker/reload.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock, type FakeClock } from '../support/clock.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { createSigningKey, mint, serviceAccountClaims } from '../support/minting.ts';
import { noteToken } from '../support/tokens.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

describe('the clusters file', () => {
  const first = createSigningKey('ES256', 'first');
  const second = createSigningKey('ES256', 'second');
  let own: FakeIssuer;
  let folder: string;
  let table: ClustersFile;
  let broker: TestBroker;
  let clock: FakeClock;
  let failures: string[];
  let problems: string[];
  let reloads: ReturnType<typeof createReloads>;
  const write = (name: string, content: unknown) =>
    writeFileSync(
      path.join(folder, name),
      typeof content === 'string' ? content : JSON.stringify(content),
    );
  const local = () => ({
    name: 'local',
    own: true,
    kind: 'kubernetes',
    issuer: own.issuer,
    keys: { url: own.jwksUrl },
  });
  const edge = {
    name: 'edge',
    kind: 'kubernetes',
    issuer: 'https://edge.test',
    keys: { pushed: { file: 'edge.jwks' } },
  };

  beforeEach(async () => {
    own = await startIssuer();
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-clusters-'));
    write('edge.jwks', { keys: [first.jwk] });
    write('clusters.yaml', { clusters: [local()] });
    table = openClusters(path.join(folder, 'clusters.yaml'));
    broker = await startTestBroker('clusters file', { fake: own, clusters: table.current() });
    clock = createFakeClock();
    failures = [];
    problems = [];
    const stream = {
      write: (line: string) =>
        problems.push(...((JSON.parse(line) as { problems?: string[] }).problems ?? [])),
    };
    reloads = createReloads({
      clock,
      log: createLogger({ level: 'info', process: 'test', stream }),
    });
    reloads.add('clusters', () => {
      table.reload((next) => broker.running.broker.replaceClusters(next));
      return [];
    });
    reloads.start((what) => failures.push(what));
  });
  afterEach(async () => {
    await reloads.stop();
    await broker.stop();
    await own.close();
    rmSync(folder, { recursive: true });
  });

  /** Unknown role: it was believed. */
  const judge = async (key: typeof first) => {
    const claims = serviceAccountClaims({ issuer: 'https://edge.test', audiences: ['payments'] });
    return (await broker.exchange({ subject_token: noteToken(mint({ key, claims })) })).body.reason;
  };
  const judgeOwn = async () => (await broker.exchange({ subject_token: own.token() })).status;

  it('adds an entry, follows the key set that it names, and takes it away again', async () => {
    expect(await judge(first)).to.equal('token_issuer');
    write('clusters.yaml', { clusters: [local(), edge] });
    await clock.advance(RELOAD_MS);
    expect(await judge(first)).to.equal('no_role');
    write('edge.jwks', { keys: [second.jwk] });
    await clock.advance(RELOAD_MS);
    expect(await judge(second)).to.equal('no_role');
    expect(await judge(first)).to.equal('token_signature');
    write('clusters.yaml', { clusters: [local()] });
    await clock.advance(RELOAD_MS);
    expect(await judge(second)).to.equal('token_issuer');
    expect(await judgeOwn()).to.equal(200);
    expect(failures).to.deep.equal([]);
  });

  const broken: readonly { title: string; content: () => unknown; says: RegExp }[] = [
    { title: 'is no YAML', content: () => 'clusters: [', says: /clusters\.yaml/ },
    { title: 'has no cluster', content: () => ({ clusters: [] }), says: /clusters/ },
    {
      title: 'has another own cluster',
      content: () => ({ clusters: [{ ...local(), name: 'other' }] }),
      says: /restart/,
    },
    {
      title: "has the broker's own issuer",
      content: () => ({ clusters: [local(), { ...edge, issuer: broker.url }] }),
      says: /broker itself/,
    },
    {
      title: 'names a key set that is not there',
      content: () => ({ clusters: [local(), { ...edge, keys: { pushed: { file: 'nothing' } } }] }),
      says: /keys\.pushed\.file: cannot be read/,
    },
    {
      title: 'names a private key',
      content: () => ({
        clusters: [
          local(),
          {
            ...edge,
            keys: { pushed: { jwks: { keys: [first.privateKey.export({ format: 'jwk' })] } } },
          },
        ],
      }),
      says: /private or symmetric/,
    },
    {
      title: 'has one key in two entries',
      content: () => ({ clusters: [local(), edge, { ...edge, name: 'twin' }] }),
      says: /has a key of clusters\[1\] too/,
    },
  ];
  for (const { title, content, says } of broken) {
    it(`that ${title} changes nothing, is reported and counted, and works again once it is mended`, async () => {
      write('clusters.yaml', { clusters: [local(), edge] });
      await clock.advance(RELOAD_MS);
      write('clusters.yaml', content());
      await clock.advance(RELOAD_MS);
      expect(failures).to.deep.equal(['clusters']);
      expect(problems.join('\n')).to.match(says);
      expect([await judge(first), await judgeOwn()]).to.deep.equal(['no_role', 200]);
      write('clusters.yaml', { clusters: [local()] });
      await clock.advance(RELOAD_MS);
      expect(failures).to.deep.equal(['clusters']);
      expect(await judge(first)).to.equal('token_issuer');
    });
  }
});
