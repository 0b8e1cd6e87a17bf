// Every row of the decision table three times over: the live broker over HTTP, its audit line, and `coatcheck explain`.
// The answer fits the record, and the records are the same but for ids and time.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { run } from '../../broker/commands/explain.ts';
import type { DecisionRecord } from '../../broker/decision-record.ts';
import { parseClusters } from '../../broker/identity/clusters.ts';
import { openStore } from '../../broker/store/open.ts';
import type { Store, StoredDecision } from '../../broker/store/store.ts';
import { systemClock, systemRandom } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { toComparable } from './comparable.ts';
import {
  type Ask,
  type Issuers,
  NAMESPACES,
  type Row,
  TABLE_ROLES,
  THEMES,
} from './decision-rows.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

describe('decision table', () => {
  let issuers: Issuers;
  let broker: TestBroker;
  let folder: string;
  let store: Store;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-table-'));
    const [own, staging, github, gitlab] = await Promise.all([
      startIssuer(),
      startIssuer(),
      startIssuer({ alg: 'RS256' }),
      startIssuer(),
    ]);
    issuers = { own, staging, github, gitlab };
    const clusters = [
      {
        name: 'local',
        kind: 'kubernetes',
        own: true,
        issuer: own.issuer,
        keys: { url: own.jwksUrl },
      },
      {
        name: 'staging',
        kind: 'kubernetes',
        issuer: staging.issuer,
        keys: { url: staging.jwksUrl },
      },
      { name: 'github', kind: 'oidc', issuer: github.issuer },
      { name: 'gitlab', kind: 'oidc', issuer: gitlab.issuer },
    ];
    writeFileSync(inFolder('clusters.yaml'), JSON.stringify({ clusters }));
    const log = createLogger({ level: 'error', process: 'test', stream: { write: () => true } });
    store = await openStore(
      { kind: 'sqlite', file: inFolder('store.db') },
      {
        clock: systemClock,
        random: systemRandom,
        log,
        newId: randomUUID,
        keepDecisionsSeconds: 3600,
        maxDecisions: 10_000,
      },
    );
    broker = await startTestBroker('decision table', {
      roles: TABLE_ROLES,
      fake: own,
      clusters: parseClusters(JSON.stringify({ clusters }), { file: inFolder('clusters.yaml') }),
      store,
      namespaces: { isReady: () => true, find: (name) => NAMESPACES[name] },
    });
  });
  after(async () => {
    await broker.stop();
    await Promise.all(Object.values(issuers).map((issuer) => issuer.close()));
    rmSync(folder, { recursive: true });
  });

  const inFolder = (name: string) => path.join(folder, name);

  async function explain({ token, audience, role, scope, namespace }: Ask): Promise<{
    code: number;
    record: DecisionRecord;
    stderr: string;
  }> {
    let stdout = '';
    let stderr = '';
    const labels = Object.entries(NAMESPACES[namespace ?? 'shop'] ?? {});
    const flags: Readonly<Record<string, string | undefined>> = {
      '--token-file': '-',
      '--clusters-file': inFolder('clusters.yaml'),
      '--roles': broker.rolesDir,
      '--output': 'json',
      '--audience': audience,
      '--role': role,
      '--scope': scope?.replaceAll(' ', ','),
      '--namespace-labels': labels.map(([key, value]) => `${key}=${value}`).join(','),
    };
    const args = Object.entries(flags).flatMap(([flag, value]) => (value ? [flag, value] : []));
    const code = await run(args, {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      stdin: async () => token,
      environment: {},
    });
    keep('explain', stdout + stderr);
    return { code, record: JSON.parse(stdout) as DecisionRecord, stderr };
  }

  async function check({ ask, expected, cap }: Row, isAllowed: boolean): Promise<void> {
    const asked = ask(issuers);
    noteToken(asked.token);
    const { token, audience, role, scope } = asked;
    const count = broker.audit.length;
    const answer = await broker.exchange({ subject_token: token, audience, role, scope });
    const live = broker.audit.at(-1);
    expect(broker.audit).to.have.length(count + 1);
    expect(live?.outcome, answer.text).to.equal(isAllowed ? 'allow' : 'deny');
    expect(isAllowed ? live?.role : live?.reason).to.equal(expected);
    expect(answer.status).to.equal(isAllowed ? 200 : 400);
    expect(answer.body.reason).to.equal(live?.toldReason);
    if (cap !== undefined)
      expect([answer.body.expiry_cap, live?.expiryCap]).to.deep.equal([cap, cap]);
    const { record, code, stderr } = await explain(asked);
    expect(stderr).to.equal('');
    expect(code).to.equal(isAllowed ? 0 : 1);
    expect(toComparable(record)).to.deep.equal(toComparable(live));
  }

  for (const { title, allowed, denied } of THEMES) {
    describe(title, () => {
      for (const row of allowed) it(`allows ${row.name}: ${row.expected}`, () => check(row, true));
      for (const row of denied) it(`denies ${row.name}: ${row.expected}`, () => check(row, false));
    });
  }

  it('has at least 80 rows, and for each allow a near miss that is denied', () => {
    const rows = THEMES.flatMap(({ allowed, denied }) => [...allowed, ...denied]);
    expect(rows.length).to.be.at.least(80);
    for (const { title, allowed, denied } of THEMES) {
      expect(denied.length > 0, title).to.equal(true);
      expect(new Set([...allowed, ...denied].map(({ name }) => name)).size).to.equal(
        allowed.length + denied.length,
      );
    }
  });

  describe('afterwards', () => {
    it('has its decisions in the store within the second, as their audit lines say them', async () => {
      const latest = broker.audit.slice(-20).reverse();
      const found = await findDecisions(latest[0]?.correlationId ?? '');
      expect(
        found.map(({ record }) => ({ kind: 'decision', ...(record as object) })),
      ).to.deep.equal(latest);
    });

    /** The newest twenty, once that one is among them. */
    async function findDecisions(id: string): Promise<readonly StoredDecision[]> {
      for (let round = 0; round < 100; round++) {
        const { items } = await store.decisions.list({}, { limit: 20 });
        if (items[0]?.id === id) return items;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error('never stored');
    }
  });
});
