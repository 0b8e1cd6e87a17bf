// The strict form reader: what it takes, what it refuses, and that nothing but a BrokerError ever comes out of it.
import { expect } from 'chai';
import fc from 'fast-check';
import { parseForm } from '../../../../broker/dialects/oauth/form.ts';
import { BrokerError } from '../../../../broker/errors.ts';

const parse = (text: string | Buffer) => Object.fromEntries(parseForm(Buffer.from(text)));

describe('form', () => {
  const taken: readonly { name: string; text: string; expected: Record<string, string[]> }[] = [
    { name: 'plus as blank', text: 'scope=a+b', expected: { scope: ['a b'] } },
    {
      name: 'percent-encoding in names and values',
      text: '%73cope=%61%20b%2B',
      expected: { scope: ['a b+'] },
    },
    { name: 'equals signs in a value', text: 'token=ab==', expected: { token: ['ab=='] } },
    { name: 'empty values as absent', text: 'a=&b&c=1&', expected: { c: ['1'] } },
    { name: 'repetition as a list', text: 'a=1&a=2', expected: { a: ['1', '2'] } },
    { name: 'UTF-8', text: 'a=%C3%BC', expected: { a: ['ü'] } },
    { name: 'nothing', text: '', expected: {} },
    {
      name: 'names of Object.prototype',
      text: '__proto__=1&constructor=2',
      expected: JSON.parse('{"__proto__":["1"],"constructor":["2"]}'),
    },
  ];
  for (const { name, text, expected } of taken) {
    it(`reads ${name}`, () => {
      expect([...parseForm(Buffer.from(text))]).to.deep.equal(Object.entries(expected));
    });
  }

  const refused: readonly { name: string; text: string | Buffer }[] = [
    { name: 'a stray percent sign', text: 'a=%' },
    { name: 'half an escape', text: 'a=%4' },
    { name: 'an escape that is no hex', text: 'a=%GG' },
    { name: 'escaped bytes that are no UTF-8', text: 'a=%C3%28' },
    { name: 'an overlong escape', text: 'a=%C0%AF' },
    { name: 'raw bytes that are no UTF-8', text: Buffer.from([0x61, 0x3d, 0xff]) },
    { name: 'more than 64 parameters', text: 'a=1&'.repeat(64) },
  ];
  for (const { name, text } of refused) {
    it(`refuses ${name}`, () => {
      expect(() => parse(text))
        .to.throw(BrokerError)
        .with.property('reason', 'body_invalid');
    });
  }

  it('reads back what URLSearchParams writes', () => {
    const pairs = fc.array(
      fc.tuple(
        fc.string({ minLength: 1, unit: 'grapheme' }),
        fc.string({ minLength: 1, unit: 'grapheme' }),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(pairs, (given) => {
        const expected = Map.groupBy(given, ([name]) => name);
        const form = parseForm(Buffer.from(new URLSearchParams(given).toString()));
        expect([...form]).to.deep.equal(
          [...expected].map(([name, values]) => [name, values.map(([, value]) => value)]),
        );
      }),
    );
  });

  it('answers any bytes with a form or a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseForm(Buffer.from(bytes));
        } catch (error) {
          expect(error).to.be.instanceOf(BrokerError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
