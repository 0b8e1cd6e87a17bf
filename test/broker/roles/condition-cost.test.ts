// What conditions cost in steps: by what they look at, and never for nothing. The bound on all of it is in
// condition.test.ts.
import { expect } from 'chai';
import type { VerifiedSubject } from '../../../broker/identity/identity.ts';
import { createConditionCompiler } from '../../../broker/roles/condition/compile.ts';

const compile = createConditionCompiler();
const ALLOWED = 50_000;

function spend(text: string, claims: Readonly<Record<string, unknown>>): number {
  const compiled = compile(text);
  if (!compiled.ok) throw new TypeError(`${text} is no condition`);
  const subject: VerifiedSubject = {
    identity: { kind: 'client', id: 'ci' },
    issuer: 'i',
    audiences: ['a'],
    issuedAt: 0,
    expiresAt: 1,
    fingerprint: 'f',
    claims,
  };
  const allowance = { steps: ALLOWED };
  const request = { audience: 'a', scopes: [], role: '', dialect: '' };
  compiled.condition.evaluate(subject, request, allowance);
  return ALLOWED - allowance.steps;
}

const texts = (length: number) => ({ text: 'x'.repeat(length), other: 'x'.repeat(length) });
const lists = (length: number) => ({ list: Array.from({ length }, (_, i) => `m${i}`) });
const maps = (length: number) => ({
  map: Object.fromEntries(Array.from({ length }, (_, i) => [`k${i}`, i])),
});

/** What an expression costs more over claims than one that looks at a number beside them. */
function costOf(text: string, claims: Readonly<Record<string, unknown>>): number {
  const all = { ...claims, n: 3 };
  return Math.round(spend(text, all) - spend('claims.n > 2', all));
}

describe('the price of a condition', () => {
  it('is nothing for what looks at nothing', () => {
    expect(spend('true', texts(10_000))).to.equal(0);
  });

  const dearer: readonly (readonly [
    string,
    (size: number) => Readonly<Record<string, unknown>>,
    number,
  ])[] = [
    ["claims.text.contains('ab')", texts, 70],
    ["claims.text.contains('abcdefgh')", texts, 280],
    ["claims.text.startsWith('ab')", texts, 280],
    ["claims.text.matches('^ab')", texts, 5000],
    ['claims.text == claims.other', texts, 280],
    ["claims.list.exists(m, m == 'z')", lists, 500],
    ["claims.list.all(m, m != 'z')", lists, 500],
    ['size(claims.list + claims.list) > 0', lists, 90],
    ["'z' in claims.list", lists, 90],
    ['claims.list == claims.list', lists, 180],
    ["claims.map.exists(m, m == 'z')", maps, 500],
  ];
  for (const [text, make, least] of dearer) {
    it(`grows with what is looked at: ${text}`, () => {
      const size = make === texts ? 10_000 : 100;
      const large = costOf(text, make(size));
      const small = costOf(text, make(size / 10));
      expect(large - small, `${small} to ${large}`).to.be.within(least * 0.9, least * 4);
    });
  }

  it('is what a look-up of a time zone takes, only where one is named', () => {
    const claims = { when: '2026-01-01T00:00:00Z' };
    const plain = spend('timestamp(claims.when).getHours() == 0', claims);
    const zoned = spend("timestamp(claims.when).getHours('Europe/Berlin') == 1", claims);
    expect(zoned - plain).to.be.within(950, 1050);
    expect(plain).to.be.below(700);
  });

  it('is at least what compiling a pattern takes', () => {
    const claims = { text: 'x' };
    expect(costOf("claims.text.matches('^ab')", claims)).to.be.within(95, 130);
    expect(costOf("claims.text.startsWith('ab')", claims)).to.be.below(5);
  });
});
