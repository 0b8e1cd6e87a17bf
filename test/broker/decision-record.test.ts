// The decision record: what it holds, how large it can become, and how people read it.
import { expect } from 'chai';
import type { Decision } from '../../broker/authorize.ts';
import { limitText, limitValue } from '../../broker/decision-limits.ts';
import {
  type DecisionRecord,
  MAX_RULES,
  MAX_TRIED,
  RECORD_FIELDS,
  sealRecord,
  toDecisionRecord,
} from '../../broker/decision-record.ts';
import { formatDecision } from '../../broker/decision-text.ts';
import type { Match } from '../../broker/roles/match.ts';
import type { TriedRole } from '../../broker/roles/resolve.ts';

const FAILED = { claim: 'kubernetes.io.namespace', got: 'web', want: 'shop' };
const NO: Match = { ok: false, failed: FAILED };
const YES: Match = { ok: true, specificity: 'exact' };
const DECISION: Decision = {
  id: 'id',
  time: '2026-11-22T12:00:00.000Z',
  dialect: 'oauth',
  action: 'exchange',
  outcome: 'deny',
  reason: 'role_mismatch',
  failed: FAILED,
  tried: [],
};

const toRole = (role: string, subjects: readonly Match[]): TriedRole => {
  const ok = subjects.some((one) => one.ok);
  const last = subjects.findLast((one) => !one.ok);
  return { role, ok, ...(!ok && last && !last.ok && { failed: last.failed }), subjects };
};
const record = (decision: Partial<Decision>): DecisionRecord =>
  sealRecord(toDecisionRecord({ ...DECISION, ...decision })).record;

describe('decision record', () => {
  it('documents each member, in the order in which they are written', () => {
    expect(Object.keys(RECORD_FIELDS)).to.have.members(Object.keys(toDecisionRecord(DECISION)));
  });

  it('holds every rule of every role with what failed of it, numbered as in the role', () => {
    const { tried } = record({ tried: [toRole('a', [NO, YES]), toRole('b', [NO])] });
    expect(tried).to.deep.equal([
      {
        role: 'a',
        ok: true,
        subjects: [
          { subject: 1, ok: false, failed: FAILED },
          { subject: 2, ok: true, specificity: 'exact' },
        ],
      },
      { role: 'b', ok: false, subjects: [{ subject: 1, ok: false, failed: FAILED }] },
    ]);
  });

  it('says of a role as a whole what no rule says', () => {
    const failed = { claim: 'audience', got: 'a', want: 'b' };
    expect(record({ tried: [{ role: 'a', ok: false, failed, subjects: [] }] }).tried).to.deep.equal(
      [{ role: 'a', ok: false, failed }],
    );
  });

  it('shows at most twenty roles, those that fit among them, and counts the others', () => {
    const tried = Array.from({ length: 100 }, (_, i) => toRole(`r${i}`, [i === 70 ? YES : NO]));
    const { tried: shown = [], triedLeftOut } = record({ tried });
    expect(shown).to.have.length(MAX_TRIED);
    expect(triedLeftOut).to.equal(100 - MAX_TRIED);
    expect(shown.map(({ role }) => role)).to.deep.equal([
      ...Array.from({ length: MAX_TRIED - 1 }, (_, i) => `r${i}`),
      'r70',
    ]);
  });

  it('shows at most forty rules over all roles, those that fit among them', () => {
    const many = (at?: number) => Array.from({ length: 256 }, (_, i) => (i === at ? YES : NO));
    const { tried: [a, b] = [] } = record({ tried: [toRole('a', many(200)), toRole('b', many())] });
    expect(a?.subjects).to.have.length(MAX_RULES);
    expect(a?.subjects?.at(-1)).to.deep.equal({ subject: 201, ok: true, specificity: 'exact' });
    expect(a?.subjectsLeftOut).to.equal(256 - MAX_RULES);
    expect(b).to.deep.equal({ role: 'b', ok: false, failed: FAILED, subjectsLeftOut: 256 });
  });

  it('stays below 100 KiB whatever a token and its roles hold', () => {
    const long = 'é'.repeat(10_000);
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`${i}${long}`, [long]]));
    const failed = { claim: long, got: [long, wide], want: long };
    const rules = Array.from({ length: 256 }, (): Match => ({ ok: false, failed }));
    const tried = Array.from({ length: 100 }, (_, i) => toRole(`r${i}`, rules));
    const decision = { ...DECISION, failed, detail: long, requestedRole: long, tried };
    const { json } = sealRecord(toDecisionRecord(decision));
    expect(Buffer.byteLength(json)).to.be.lessThan(100 * 1024);
  });

  const limits: readonly { name: string; given: unknown; expected: unknown }[] = [
    { name: 'a short text', given: 'a'.repeat(256), expected: 'a'.repeat(256) },
    { name: 'a long text', given: 'a'.repeat(257), expected: `${'a'.repeat(256)}… (1 more)` },
    { name: 'a number', given: 7, expected: 7 },
    { name: 'nothing', given: null, expected: null },
    { name: 'a short list', given: ['a', 1], expected: ['a', 1] },
    {
      name: 'a long list',
      given: Array.from({ length: 18 }, () => 1),
      expected: [...Array.from({ length: 16 }, () => 1), '… (2 more)'],
    },
    {
      name: 'a deep object',
      given: { a: { a: { a: { a: 1 } } } },
      expected: { a: { a: { a: { a: 1 } } } },
    },
    {
      name: 'one deeper still',
      given: { a: { a: { a: { a: { a: 1 } } } } },
      expected: { a: { a: { a: { a: '…' } } } },
    },
  ];
  for (const { name, given, expected } of limits) {
    it(`limits what is shown: ${name}`, () => {
      expect(limitValue(given)).to.deep.equal(expected);
    });
  }

  it('cuts texts where it is told to', () => {
    expect([limitText('abc', 3), limitText('abcd', 3)]).to.deep.equal(['abc', 'abc… (1 more)']);
  });
});

describe('a decision for people', () => {
  const allowed = record({
    outcome: 'allow',
    role: 'a',
    audience: 'payments',
    scopes: [],
    subject: {
      fingerprint: 'f'.repeat(16),
      identity: { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop:ref:refs/heads/main' },
      issuer: 'https://ci.test',
      audiences: ['payments'],
      expiresAt: 1_763_815_000,
    },
    tried: [toRole('a', [NO, YES])],
    expiry: {
      expiresAt: 1_763_812_900,
      cap: 'ttl',
      caps: { ttl: 1_763_812_900, maxTtl: 1_763_815_600 },
    },
  });

  it('names an OIDC subject, each rule, and the cap that set the end', () => {
    const text = formatDecision(allowed);
    expect(text).to.contain('decision    allowed by role a\n');
    expect(text).to.contain('subject     oidc:github:repo:acme/shop:ref:refs/heads/main\n');
    expect(text).to.contain('     yes subject 2: fits (exact)\n');
    expect(text).to.contain('scopes      (none)\n');
    expect(text).to.match(/^expires {5}2025-11-22T12:01:40Z, set by ttl\n {14}ttl {5}/m);
  });

  it('reads a record that went over the wire as the one it was made from', () => {
    const sent = JSON.parse(JSON.stringify(allowed)) as DecisionRecord;
    expect(formatDecision(sent)).to.equal(formatDecision(allowed));
  });

  it('says how much is not shown', () => {
    const tried = Array.from({ length: 30 }, (_, i) =>
      toRole(
        `r${i}`,
        Array.from({ length: 9 }, () => NO),
      ),
    );
    const text = formatDecision(record({ tried }));
    expect(text).to.match(/and 5 more subjects\n/);
    expect(text).to.match(/and 10 more\n/);
  });

  it('tells a renewal from an exchange, and our failure from a refusal', () => {
    expect(formatDecision(record({ action: 'renew' }))).to.match(/^decision {4}denied \(renew\): /);
    expect(formatDecision(record({ outcome: 'failure', reason: 'keys_unavailable' }))).to.match(
      /^decision {4}not decided, our failure: keys_unavailable \(the caller is told: unavailable\)/,
    );
  });
});
