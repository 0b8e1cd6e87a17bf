// The two rules that webhook and broker share: what an audience is, and what name it goes by.
import { expect } from 'chai';
import fc from 'fast-check';
import { isAudienceName, toAudienceName } from '../../common/protocol/audience-name.ts';
import {
  isAudience,
  isReservedAudience,
  RESERVED_AUDIENCES,
} from '../../common/protocol/audiences.ts';

describe('audiences', () => {
  const rows: { name: string; text: string; expected: boolean }[] = [
    { name: 'a word', text: 'payments', expected: true },
    {
      name: 'a URL with everything',
      text: 'https://u@h.example.io:8443/a/../b?x=1&y=%20#f',
      expected: true,
    },
    { name: '255 characters', text: 'a'.repeat(255), expected: true },
    { name: '256 characters', text: 'a'.repeat(256), expected: false },
    { name: 'nothing', text: '', expected: false },
    { name: 'a space', text: 'a b', expected: false },
    { name: 'a comma', text: 'a,b', expected: false },
    { name: 'a double quote', text: 'a"b', expected: false },
    { name: 'a single quote', text: "a'b", expected: false },
    { name: 'a backslash', text: 'a\\b', expected: false },
    { name: 'a tab', text: 'a\tb', expected: false },
    { name: 'a newline at the end', text: 'a\n', expected: false },
    { name: 'NUL', text: 'a\0', expected: false },
    { name: 'DEL', text: 'a\u007f', expected: false },
    { name: 'a letter that is not ASCII', text: 'é', expected: false },
  ];
  for (const { name, text, expected } of rows) {
    it(`${expected ? 'may be' : 'may not be'} ${name}`, () =>
      expect(isAudience(text)).to.equal(expected));
  }

  it('are reserved whatever their case and their last slash, and not because one begins like another', () => {
    for (const audience of RESERVED_AUDIENCES) {
      expect(isReservedAudience(audience)).to.equal(true);
      expect(isReservedAudience(`${audience.toUpperCase()}/`)).to.equal(true);
      expect(isReservedAudience(`${audience}x`)).to.equal(false);
    }
    expect(isReservedAudience('ours')).to.equal(false);
    expect(isReservedAudience('OURS/', ['ours'])).to.equal(true);
  });
});

describe('the name of an audience', () => {
  const rows = [
    { audience: 'payments', expected: 'payments' },
    { audience: 'a'.repeat(52), expected: 'a'.repeat(52) },
    { audience: 'a'.repeat(53), expected: `${'a'.repeat(43)}-` },
    { audience: 'https://api.example.io/v1', expected: 'https-api-example-io-v1-' },
    { audience: '../../etc', expected: 'etc-' },
    { audience: '..', expected: 'audience-' },
    { audience: '-', expected: 'audience-' },
    { audience: 'Payments', expected: 'payments-' },
  ];
  for (const { audience, expected } of rows) {
    it(`of ${audience.slice(0, 30)} begins with ${expected.slice(0, 30)}`, () => {
      const name = toAudienceName(audience);
      expect(name.startsWith(expected)).to.equal(true);
      expect(name.slice(expected.length)).to.match(expected.endsWith('-') ? /^[0-9a-f]{8}$/ : /^$/);
    });
  }

  // People's manifests hold these: a change of the rule must fail a test.
  it('never changes', () => {
    expect(toAudienceName('https://api.example.io/v1')).to.equal(
      'https-api-example-io-v1-93f39f9d',
    );
  });

  it('is always a DNS label that fits into an annotation key, and a different one for a different audience', () => {
    const audience = fc.stringMatching(/^[!#-&(-+\--[\]-~]{1,255}$/);
    fc.assert(
      fc.property(audience, audience, (a, b) => {
        expect(isAudience(a)).to.equal(true);
        expect(isAudienceName(toAudienceName(a))).to.equal(true);
        if (a !== b) expect(toAudienceName(a)).to.not.equal(toAudienceName(b));
      }),
    );
  });
});
