// Whatever is sent as a subject token, the verifier answers with a refusal from its closed table: never another error,
// never `internal`, never acceptance of what the issuer did not sign.
import { expect } from 'chai';
import fc from 'fast-check';
import { type FakeIssuer, mint, serviceAccountClaims, startIssuer } from '../support/issuer.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../support/verifying.ts';

describe('attack: random subject tokens', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  before(async () => {
    issuer = await startIssuer();
    verifier = createTestVerifier([
      toCluster(issuer, { algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'] }),
    ]);
  });
  after(() => issuer.close());

  /** Fails on anything but a refusal or an acceptance. */
  const verdict = (token: string) => verifier.judge(token);
  const refused = async (token: string) => {
    expect(await verdict(token)).to.match(/^token_/);
  };
  const segment = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.json({ maxDepth: 3 }).map(encode),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  );

  it('refuses random text', () =>
    fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), refused)));
  it('refuses random segments', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(segment, { maxLength: 6 }).map((all) => all.join('.')),
        refused,
      ),
    ));
  it('refuses random headers, payloads and signatures around the right issuer', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          alg: fc.oneof(
            fc.constantFrom('RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'none', 'HS256'),
            fc.jsonValue(),
          ),
          kid: fc.oneof(fc.constant(issuer?.key.kid), fc.jsonValue()),
          more: fc.dictionary(fc.string(), fc.jsonValue()),
        }),
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        ({ alg, kid, more }, payload, signature) => {
          const header = encode(JSON.stringify({ ...more, alg, kid: kid ?? issuer.key.kid }));
          const claims = encode(JSON.stringify({ ...payload, iss: issuer.issuer }));
          return refused(`${header}.${claims}.${Buffer.from(signature).toString('base64url')}`);
        },
      ),
    ));
  it('refuses every token with one character changed', () =>
    fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom(...'AQgw_-9.=+ '), async (at, replacement) => {
        const token = issuer.token();
        const index = at % token.length;
        fc.pre(token[index] !== replacement);
        await refused(token.slice(0, index) + replacement + token.slice(index + 1));
      }),
    ));
  it('answers every signed payload, whatever its claims are', () =>
    fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.constantFrom('aud', 'sub', 'exp', 'iat', 'nbf', 'jti', 'kubernetes.io'),
          fc.jsonValue(),
        ),
        async (claims) => {
          const { issuer: iss } = issuer;
          const all = { ...serviceAccountClaims({ issuer: iss }), ...claims };
          expect(await verdict(mint({ key: issuer.key, claims: all }))).to.match(
            /^(accepted|token_)/,
          );
        },
      ),
    ));
});

function encode(text: string): string {
  return Buffer.from(text).toString('base64url');
}
