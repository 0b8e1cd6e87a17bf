// The audience matrix end to end: what stands in `aud`, what is asked for, what the role says. Each refusal with its
// stable reason; `allowed` rows are the near misses. And subject tokens made to fool a JWT library, over HTTP.
import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import type { Reason } from '../../broker/errors.ts';
import { encode, type MintOptions } from '../support/issuer.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

interface Row {
  readonly name: string;
  readonly aud: unknown;
  readonly ask?: string;
  readonly role?: string;
  readonly expected: 'allowed' | Reason;
}

const MATRIX: readonly Row[] = [
  { name: 'a list of one', aud: ['payments'], expected: 'allowed' },
  { name: 'a text', aud: 'payments', expected: 'allowed' },
  { name: 'a text, asked for', aud: 'payments', ask: 'payments', expected: 'allowed' },
  { name: 'the same twice', aud: ['payments', 'payments'], expected: 'allowed' },
  { name: 'absent', aud: undefined, expected: 'token_audience' },
  { name: 'absent, asked for', aud: undefined, ask: 'payments', expected: 'token_audience' },
  { name: 'null', aud: null, expected: 'token_audience' },
  { name: 'an empty text', aud: '', expected: 'token_audience' },
  { name: 'an empty list', aud: [], expected: 'token_audience' },
  { name: 'an empty list, asked for', aud: [], ask: 'payments', expected: 'token_audience' },
  { name: 'a list of an empty text', aud: [''], expected: 'token_audience' },
  { name: 'a number', aud: 7, expected: 'token_audience' },
  { name: 'a list with a number', aud: ['payments', 7], expected: 'token_audience' },
  { name: 'an object', aud: { payments: true }, expected: 'token_audience' },
  { name: 'a list in a list', aud: [['payments']], expected: 'token_audience' },
  { name: 'another one', aud: ['billing'], expected: 'role_unknown' },
  {
    name: 'another one, while a served one is asked for',
    aud: ['billing'],
    ask: 'payments',
    expected: 'target_refused',
  },
  {
    name: 'a served one, while another is asked for',
    aud: ['payments'],
    ask: 'billing',
    expected: 'target_refused',
  },
  { name: 'a prefix of the served one', aud: ['payment'], expected: 'role_unknown' },
  { name: 'another case', aud: ['Payments'], expected: 'role_unknown' },
  { name: 'a trailing slash', aud: ['payments/'], expected: 'role_unknown' },
  { name: 'two in one text', aud: 'payments,multi', expected: 'role_unknown' },
  { name: 'two in one text with a blank', aud: 'payments multi', expected: 'role_unknown' },
  {
    name: 'more than is asked for, and the role allows it',
    aud: ['multi', 'payments'],
    ask: 'multi',
    expected: 'allowed',
  },
  {
    name: 'more than is asked for, and the role does not',
    aud: ['multi', 'payments'],
    ask: 'payments',
    expected: 'token_audience',
  },
  { name: 'two, and none asked for', aud: ['multi', 'payments'], expected: 'token_audience' },
  { name: 'the API server', aud: ['https://kubernetes.default.svc'], expected: 'role_unknown' },
  {
    name: 'fits the token, but the role asked for has another',
    aud: ['payments'],
    role: 'batch',
    expected: 'role_mismatch',
  },
  {
    name: 'fits the token and the role asked for',
    aud: ['batch'],
    role: 'batch',
    expected: 'allowed',
  },
];

describe('audience matrix', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('audience-matrix');
  });
  after(() => broker.stop());

  for (const { name, aud, ask, role, expected } of MATRIX) {
    it(`aud is ${name}: ${expected}`, async () => {
      const answer = await broker.exchange({
        subject_token: broker.issuer.token({ claims: { aud } }),
        audience: ask,
        role,
      });
      expect(broker.audit.at(-1)?.reason ?? 'allowed').to.equal(expected);
      expect(answer.status).to.equal(expected === 'allowed' ? 200 : 400);
      if (expected !== 'allowed') expect(answer.body.access_token).to.equal(undefined);
    });
  }
});

describe('forged subject tokens', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('forged');
  });
  after(() => broker.stop());

  const publicPem = (b: TestBroker) =>
    String(b.issuer.key.publicKey.export({ type: 'spki', format: 'pem' }));
  const ATTACKS: readonly {
    name: string;
    expected: Reason;
    mint?: (b: TestBroker) => Partial<MintOptions>;
    claims?: (b: TestBroker) => Record<string, unknown>;
  }[] = [
    {
      name: 'alg none, no signature',
      expected: 'token_malformed',
      mint: () => ({ header: { alg: 'none' }, edit: ([h, p]) => [h, p, ''] }),
    },
    { name: 'alg None', expected: 'token_malformed', mint: () => ({ header: { alg: 'None' } }) },
    {
      name: 'the public key as an HMAC secret',
      expected: 'token_malformed',
      mint: (b) => ({
        header: { alg: 'HS256' },
        sign: (input) => createHmac('sha256', publicPem(b)).update(input).digest(),
      }),
    },
    {
      name: 'a header that brings its own key',
      expected: 'token_malformed',
      mint: (b) => ({ header: { jwk: b.issuer.key.jwk } }),
    },
    {
      name: 'jku',
      expected: 'token_malformed',
      mint: () => ({ header: { jku: 'https://evil.example/keys' } }),
    },
    {
      name: 'x5u',
      expected: 'token_malformed',
      mint: () => ({ header: { x5u: 'https://evil.example/cert' } }),
    },
    { name: 'crit', expected: 'token_malformed', mint: () => ({ header: { crit: ['exp'] } }) },
    {
      name: 'five segments, as a JWE',
      expected: 'token_malformed',
      mint: () => ({ edit: ([h, p, s]) => [h, p, s, encode('a'), encode('b')] }),
    },
    {
      name: 'two segments',
      expected: 'token_malformed',
      mint: () => ({ edit: ([h, p]) => [h, p] }),
    },
    {
      name: 'more than 16 KiB',
      expected: 'token_malformed',
      claims: () => ({ pad: 'x'.repeat(20_000) }),
    },
    {
      name: 'an alg of another family',
      expected: 'token_signature',
      mint: () => ({ header: { alg: 'RS256' } }),
    },
    {
      name: 'iss as a list',
      expected: 'token_issuer',
      claims: (b) => ({ iss: [b.issuer.issuer] }),
    },
    {
      name: 'iss with a trailing slash',
      expected: 'token_issuer',
      claims: (b) => ({ iss: `${b.issuer.issuer}/` }),
    },
    {
      name: 'iss with user info',
      expected: 'token_issuer',
      claims: (b) => ({ iss: b.issuer.issuer.replace('http://', 'http://x@') }),
    },
    {
      name: 'iss that begins like ours',
      expected: 'token_issuer',
      claims: (b) => ({ iss: `${b.issuer.issuer}.evil.example` }),
    },
    {
      name: 'sub of another ServiceAccount',
      expected: 'token_claims',
      claims: () => ({ sub: 'system:serviceaccount:kube-system:admin' }),
    },
    { name: 'exp as a text', expected: 'token_claims', claims: () => ({ exp: '9999999999' }) },
  ];
  for (const { name, expected, mint = () => ({}), claims = () => ({}) } of ATTACKS) {
    it(`are refused: ${name}`, async () => {
      const fetched = broker.issuer.requests.length;
      const subject = broker.issuer.token({ mint: mint(broker), claims: claims(broker) });
      const answer = await broker.exchange({ subject_token: subject });
      expect(broker.audit.at(-1)?.reason).to.equal(expected);
      expect(answer.status).to.equal(400);
      expect(answer.body).to.deep.include({ error: 'invalid_request' });
      expect(broker.issuer.requests.length, 'fetches').to.equal(fetched);
    });
  }

  it('stand beside a token that is served', async () => {
    expect((await broker.exchange({ subject_token: broker.issuer.token() })).status).to.equal(200);
  });
});
