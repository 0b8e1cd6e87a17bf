// The checks of claims one by one, at their edges: the last value that is taken and the first that is not, and what a
// refusal says. What whole tokens meet is in test/attacks.
import { expect } from 'chai';
import {
  type Checked,
  checkAudiences,
  checkTimes,
  checkTokenId,
  checkValidity,
  checkWorkload,
} from '../../../broker/identity/claims.ts';
import { type Identity, isWorkload, toSubject } from '../../../broker/identity/identity.ts';
import { checkAge, checkOidcIdentity } from '../../../broker/identity/oidc-claims.ts';
import { readSubject } from '../../../broker/identity/subject.ts';
import { createFakeClock } from '../../support/clock.ts';

type Claims = Readonly<Record<string, unknown>>;
const NOW = 1_800_000_000;
const ACCOUNT = { name: 'checkout', uid: 'sa-uid' };
const CLAIMS: Claims = {
  sub: 'system:serviceaccount:shop:checkout',
  'kubernetes.io': { namespace: 'shop', serviceaccount: ACCOUNT },
};
const kubernetes = (more: Claims): Claims => ({
  ...CLAIMS,
  'kubernetes.io': { ...(CLAIMS['kubernetes.io'] as Claims), ...more },
});

function judge(checked: Checked<unknown>): unknown {
  return checked.ok ? checked.value : checked.reason;
}

describe('the claims of a ServiceAccount token', () => {
  describe('name a workload', () => {
    const PLAIN = {
      kind: 'workload',
      cluster: 'here',
      namespace: 'shop',
      serviceAccount: 'checkout',
      serviceAccountUid: 'sa-uid',
    };
    const longName = `${'a'.repeat(250)}.bc`;
    const rows: readonly (readonly [string, Claims, object | string])[] = [
      ['without pod and node', CLAIMS, PLAIN],
      [
        'in a pod on a node',
        kubernetes({ pod: { name: 'p', uid: 'pu' }, node: { name: 'n', uid: 'nu' } }),
        { ...PLAIN, pod: { name: 'p', uid: 'pu' }, node: { name: 'n', uid: 'nu' } },
      ],
      [
        'on a node without uid',
        kubernetes({ node: { name: 'n' } }),
        { ...PLAIN, node: { name: 'n' } },
      ],
      [
        'with a pod’s name of 253 characters',
        kubernetes({ pod: { name: longName, uid: 'u' } }),
        { ...PLAIN, pod: { name: longName, uid: 'u' } },
      ],
      [
        'with an id of 256 characters',
        kubernetes({ pod: { name: 'p', uid: 'u'.repeat(256) } }),
        { ...PLAIN, pod: { name: 'p', uid: 'u'.repeat(256) } },
      ],
      ['not with 254', kubernetes({ pod: { name: `${longName}d`, uid: 'u' } }), 'token_claims'],
      [
        'not with an id of 257',
        kubernetes({ pod: { name: 'p', uid: 'u'.repeat(257) } }),
        'token_claims',
      ],
      ['not with an empty id', kubernetes({ pod: { name: 'p', uid: '' } }), 'token_claims'],
      ['not with a pod without uid', kubernetes({ pod: { name: 'p' } }), 'token_claims'],
      ['not with a pod that is null', kubernetes({ pod: null }), 'token_claims'],
      ['not with a node without name', kubernetes({ node: { uid: 'nu' } }), 'token_claims'],
      ['not with a node that is null', kubernetes({ node: null }), 'token_claims'],
      [
        'not with an account without uid',
        kubernetes({ serviceaccount: { name: 'checkout' } }),
        'token_claims',
      ],
      ['not with another sub', { ...CLAIMS, sub: `${CLAIMS.sub}x` }, 'token_claims'],
    ];
    for (const [title, claims, expected] of rows) {
      it(title, () => {
        expect(judge(checkWorkload(claims, 'here'))).to.deep.equal(expected);
      });
    }

    it('and say of a token from a Secret what it is', () => {
      const legacy = { 'kubernetes.io/serviceaccount/namespace': 'shop' };
      const one = checkWorkload(legacy, 'here');
      const other = checkWorkload({ iss: 'x' }, 'here');
      expect(!one.ok && one.detail).to.match(/from a Secret/);
      expect(!other.ok && other.detail).to.match(/missing or not an object/);
    });
  });

  describe('have audiences', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `a${i}`);
    const rows: readonly (readonly [string, unknown, unknown])[] = [
      ['as a text', 'payments', ['payments']],
      ['as a list, without repetition', ['a', 'b', 'a'], ['a', 'b']],
      ['as many as 64', many(64), many(64)],
      ['but not 65', many(65), 'token_audience'],
      ['but not none', [], 'token_audience'],
      ['but no text beside a number', ['payments', 5], 'token_audience'],
      ['but no text beside an empty one', ['payments', ''], 'token_audience'],
      ['but not missing ones', undefined, 'token_audience'],
    ];
    for (const [title, aud, expected] of rows) {
      it(title, () => {
        expect(judge(checkAudiences({ aud }))).to.deep.equal(expected);
      });
    }
  });

  describe('have times', () => {
    const base = { iat: 10, exp: 20 };
    const times = { issuedAt: 10, expiresAt: 20, notBefore: undefined };
    const rows: readonly (readonly [string, Claims, unknown])[] = [
      ['iat and exp', base, times],
      ['nbf too', { ...base, nbf: 12 }, { ...times, notBefore: 12 }],
      [
        'the earlier of exp and warnafter',
        { ...base, 'kubernetes.io': { warnafter: 15 } },
        { ...times, expiresAt: 15 },
      ],
      ['exp where warnafter is later', { ...base, 'kubernetes.io': { warnafter: 25 } }, times],
      ['zero', { iat: 0, exp: 0 }, { ...times, issuedAt: 0, expiresAt: 0 }],
      ['no negative ones', { ...base, iat: -1 }, 'token_claims'],
      ['no text', { ...base, exp: '20' }, 'token_claims'],
      ['no list of one number', { ...base, exp: [20] }, 'token_claims'],
      ['no fraction', { ...base, nbf: 1.5 }, 'token_claims'],
      [
        'no warnafter that is none',
        { ...base, 'kubernetes.io': { warnafter: '15' } },
        'token_claims',
      ],
      [
        'no warnafter that is null',
        { ...base, 'kubernetes.io': { warnafter: null } },
        'token_claims',
      ],
    ];
    for (const [title, claims, expected] of rows) {
      it(title, () => {
        expect(judge(checkTimes(claims))).to.deep.equal(expected);
      });
    }
  });

  describe('hold', () => {
    const validity = { issuedAt: NOW - 100, expiresAt: NOW + 100, notBefore: undefined };
    const early = (more: object) => ({ ...validity, expiresAt: NOW + 900, ...more });
    const rows: readonly {
      title: string;
      given: typeof validity | (Omit<typeof validity, 'notBefore'> & { notBefore: number });
      failed?: { reason: string; detail: string; claim: string; got: number; want: string };
    }[] = [
      { title: 'between their times', given: validity },
      { title: '29 seconds after their end', given: { ...validity, expiresAt: NOW - 29 } },
      {
        title: 'no more after 30',
        given: { ...validity, expiresAt: NOW - 30 },
        failed: {
          reason: 'token_expired',
          detail: 'expired 30 s ago',
          claim: 'exp',
          got: NOW - 30,
          want: `> ${NOW - 30}`,
        },
      },
      { title: '30 seconds before their issue', given: early({ issuedAt: NOW + 30 }) },
      {
        title: 'not yet 31 seconds before their issue',
        given: early({ issuedAt: NOW + 31 }),
        failed: {
          reason: 'token_not_yet_valid',
          detail: 'valid in 31 s',
          claim: 'iat',
          got: NOW + 31,
          want: `<= ${NOW + 30}`,
        },
      },
      { title: '30 seconds before nbf', given: early({ notBefore: NOW + 30 }) },
      {
        title: 'not yet 31 seconds before nbf',
        given: early({ notBefore: NOW + 31 }),
        failed: {
          reason: 'token_not_yet_valid',
          detail: 'valid in 31 s',
          claim: 'nbf',
          got: NOW + 31,
          want: `<= ${NOW + 30}`,
        },
      },
    ];
    for (const { title, given, failed } of rows) {
      it(title, () => {
        const checked = checkValidity(given, NOW);
        if (!failed) expect(checked).to.deep.equal({ ok: true, value: undefined });
        else {
          const { reason, detail, ...rest } = failed;
          expect(checked).to.deep.equal({ ok: false, reason, detail, failed: rest });
        }
      });
    }
  });

  it('have an id, or none, or are refused', () => {
    expect(checkTokenId({})).to.deep.equal({ ok: true, value: undefined });
    expect(checkTokenId({ jti: 'x' })).to.deep.equal({ ok: true, value: 'x' });
    for (const jti of ['', 5, null, 'x'.repeat(257)])
      expect(judge(checkTokenId({ jti }))).to.equal('token_claims');
  });
});

describe('a subject', () => {
  const clock = createFakeClock(NOW * 1000);
  const claims = { ...CLAIMS, aud: 'payments', iat: NOW, exp: NOW + 60 };
  const facts = () => ({ fingerprint: 'f', cluster: 'here', issuer: 'https://i.test' });

  it('has a token id where the token has one, and so have the facts', () => {
    const known = facts();
    const subject = readSubject({ ...claims, jti: 'x' }, known, clock);
    expect([subject.tokenId, known]).to.deep.equal([
      'x',
      { ...facts(), tokenId: 'x', identity: subject.identity, audiences: ['payments'] },
    ]);
  });

  it('has none otherwise', () => {
    const known = facts();
    expect(readSubject(claims, known, clock)).to.not.have.property('tokenId');
    expect(known).to.not.have.property('tokenId');
  });
});

describe('the name of an identity', () => {
  const rows: readonly (readonly [Identity, string])[] = [
    [
      {
        kind: 'workload',
        cluster: 'c',
        namespace: 'n',
        serviceAccount: 's',
        serviceAccountUid: 'u',
      },
      'k8s:c:n:s',
    ],
    [{ kind: 'oidc', issuer: 'github', subject: 'repo:a/b' }, 'oidc:github:repo:a/b'],
    [{ kind: 'client', id: 'ci' }, 'client:ci'],
    [{ kind: 'user', provider: 'corp', subject: 'jane', groups: ['g'] }, 'user:corp:jane'],
  ];
  for (const [identity, expected] of rows) {
    it(`is ${expected}`, () => {
      expect(toSubject(identity)).to.equal(expected);
      expect(isWorkload(identity)).to.equal(identity.kind === 'workload');
    });
  }
});

describe('the claims of an OIDC token', () => {
  it('name a subject', () => {
    expect(checkOidcIdentity({ sub: 'repo:acme/shop' }, 'github')).to.deep.equal({
      ok: true,
      value: { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop' },
    });
  });

  it('hold as long as the entry allows since their issue, and 30 seconds more', () => {
    const at = (issuedAt: number) => checkAge({ issuedAt }, { now: NOW, maxAgeSeconds: 60 });
    expect(at(NOW - 90)).to.deep.equal({ ok: true, value: undefined });
    expect(at(NOW - 91)).to.deep.equal({
      ok: false,
      reason: 'token_expired',
      detail: "issued 91 s ago; the issuer's entry allows 60 s",
      failed: { claim: 'iat', got: NOW - 91, want: `>= ${NOW - 90}` },
    });
  });
});
