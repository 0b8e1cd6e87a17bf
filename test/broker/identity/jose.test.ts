// A token taken apart, at the edges of each limit; and members named twice, however the JSON hides them. Pure: whole
// tokens against a verifier are in test/attacks/jose.test.ts.
import { expect } from 'chai';
import { BrokerError } from '../../../broker/errors.ts';
import {
  checkUniqueMembers,
  MAX_DEPTH,
  MAX_TOKEN_BYTES,
  parseToken,
} from '../../../broker/identity/jose.ts';
import { MAX_KID_LENGTH } from '../../../broker/identity/keys.ts';
import { encode } from '../../support/minting.ts';

const HEADER = JSON.stringify({ alg: 'ES256' });
const make = ({ header = HEADER, payload = '{}', signature = 'c2ln' } = {}) =>
  `${encode(header)}.${encode(payload)}.${signature}`;

/** What is wrong with a token; undefined where it can be taken apart. */
function complain(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expect(error.reason).to.equal('token_malformed');
    return error.detail;
  }
}

describe('taking a token apart', () => {
  it('gives each part as it was signed', () => {
    const token = make({ header: '{"alg":"ES256","kid":"k"}', payload: '{"a":1}' });
    expect(parseToken(token)).to.deep.equal({
      alg: 'ES256',
      kid: 'k',
      payload: { a: 1 },
      payloadText: '{"a":1}',
      input: token.slice(0, token.lastIndexOf('.')),
      signature: Buffer.from('sig'),
    });
  });

  const fill = MAX_TOKEN_BYTES - make().length + 'c2ln'.length;
  const header = (more: object) => make({ header: JSON.stringify({ alg: 'ES256', ...more }) });
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['as long as allowed', make({ signature: 'A'.repeat(fill - (fill % 4)) }), undefined],
    [
      'longer',
      make({ signature: 'A'.repeat(fill - (fill % 4) + 4) }),
      `longer than ${MAX_TOKEN_BYTES} bytes`,
    ],
    ['without any dot', 'abc', 'not exactly three segments'],
    ['of two segments', 'YWJj.YWJj', 'not exactly three segments'],
    ['of four segments', `${make()}.c2ln`, 'not exactly three segments'],
    ['with an empty header', make().slice(make().indexOf('.')), 'not exactly three segments'],
    ['with an empty payload', `${encode(HEADER)}..c2ln`, 'the payload is not base64url'],
    ['with an empty signature', make({ signature: '' }), 'the signature is not base64url'],
    ['with a kid as long as allowed', header({ kid: 'k'.repeat(MAX_KID_LENGTH) }), undefined],
    [
      'with a longer kid',
      header({ kid: 'k'.repeat(MAX_KID_LENGTH + 1) }),
      'the kid is not a text of 1 to 256 characters',
    ],
    ['with an empty kid', header({ kid: '' }), 'the kid is not a text of 1 to 256 characters'],
    [
      'with a kid that is a number',
      header({ kid: 5 }),
      'the kid is not a text of 1 to 256 characters',
    ],
    [
      'with an algorithm in a list',
      header({ alg: ['ES256'] }),
      'the algorithm is not an allowed signature',
    ],
    ['with the typ JWT', header({ typ: 'JWT' }), undefined],
    ['with another typ', header({ typ: 'jwt' }), 'the header has a typ other than JWT'],
    ['with a payload that is a list', make({ payload: '[]' }), 'the payload is not a JSON object'],
    ['with a payload that is null', make({ payload: 'null' }), 'the payload is not a JSON object'],
    ['with a payload that is a number', make({ payload: '5' }), 'the payload is not a JSON object'],
    ['with a payload that is no JSON', make({ payload: '{' }), 'the payload is not JSON'],
    ['with a header that is no JSON', make({ header: 'x' }), 'the header is not JSON'],
    [
      'with alg twice',
      make({ header: '{"alg":"none","alg":"ES256"}' }),
      'the header names a member twice',
    ],
  ];
  for (const [title, token, expected] of rows) {
    it(`${expected === undefined ? 'takes' : 'refuses'} one ${title}`, () => {
      expect(complain(() => parseToken(token))).to.equal(expected);
    });
  }
});

describe('members of JSON', () => {
  const unique: readonly string[] = [
    '{}',
    '{"a":1,"b":2}',
    '{"a":{"a":1},"b":{"a":1}}',
    '{"a":[{"b":1},{"b":2}]}',
    '{ "a" : "b" , "b"\t:\n"a" }',
    '{"a":"b:","c":":"}',
    '{"a\\"":1,"a":2}',
    '{"a":"\\\\","b":"\\\\\\""}',
    '{"a":"\\":\\"","b":1}',
    '{"a\\\\":1,"a":2}',
  ];
  for (const text of unique) {
    it(`are unique in ${JSON.stringify(text)}`, () => {
      expect(complain(() => checkUniqueMembers(text, JSON.parse(text), 'payload'))).to.equal(
        undefined,
      );
    });
  }

  const twice: readonly string[] = [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":1,"a" :2}',
    '{"a":1,"a"\n\t\r :2}',
    '{"x":{"a":1,"a":2}}',
    '{"x":[[{"a":1,"a":2}]]}',
    '{"a\\"":1,"a\\"":2}',
    '{"a\\\\":1,"a\\\\":2}',
    '{"a":"\\\\","a":"\\\\"}',
    '{"a":"\\"","a":"\\""}',
    '{"a":"x\\\\\\"","b":1,"b":2}',
  ];
  for (const text of twice) {
    it(`are named twice in ${JSON.stringify(text)}`, () => {
      expect(complain(() => checkUniqueMembers(text, JSON.parse(text), 'payload'))).to.equal(
        'the payload names a member twice',
      );
    });
  }

  const nested = (depth: number) => `${'{"a":'.repeat(depth)}{}${'}'.repeat(depth)}`;
  it('are followed as deep as allowed', () => {
    const text = nested(MAX_DEPTH);
    expect(complain(() => checkUniqueMembers(text, JSON.parse(text), 'payload'))).to.equal(
      undefined,
    );
  });

  it('are not followed deeper', () => {
    const text = nested(MAX_DEPTH + 1);
    expect(complain(() => checkUniqueMembers(text, JSON.parse(text), 'payload'))).to.equal(
      `the payload is nested more than ${MAX_DEPTH} deep`,
    );
  });
});
