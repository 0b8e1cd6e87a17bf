// `iss` chooses keys, so nothing but an exact match may: no prefix, no spelling, no list, and no network for the rest.
import { expect } from 'chai';
import { createClusterKeys } from '../../broker/identity/cluster-keys.ts';
import { createVerifier } from '../../broker/identity/verify.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock } from '../support/clock.ts';
import { createSigningKey, type FakeIssuer, startIssuer } from '../support/issuer.ts';
import {
  createTestVerifier,
  OWN_ISSUER,
  type TestVerifier,
  toCluster,
} from '../support/verifying.ts';

const ISS = 'https://cluster.test/id';

describe('attack: the issuer of the subject token', () => {
  let issuer: FakeIssuer;
  let stranger: FakeIssuer;
  let verifier: TestVerifier;
  before(async () => {
    issuer = await startIssuer({ issuer: ISS });
    stranger = await startIssuer();
  });
  beforeEach(() => {
    verifier = createTestVerifier([toCluster(issuer, { issuers: [ISS, 'https://moved.test'] })]);
  });
  after(() => Promise.all([issuer.close(), stranger.close()]));

  it('accepts exactly the issuer of the table', async () => {
    expect(await verifier.judge(issuer.token())).to.equal('accepted');
  });
  it('accepts the second issuer of an entry, while a cluster moves', async () => {
    const subject = await verifier.verify(issuer.token({ claims: { iss: 'https://moved.test' } }));
    expect(subject.issuer).to.equal('https://moved.test');
  });

  const rows: readonly { title: string; iss: unknown }[] = [
    { title: 'absent', iss: undefined },
    { title: 'null', iss: null },
    { title: 'empty', iss: '' },
    { title: 'a number', iss: 1 },
    { title: 'a list with the right one', iss: [ISS] },
    { title: 'a list of both of the entry', iss: [ISS, 'https://moved.test'] },
    { title: 'an object', iss: { toString: ISS } },
    { title: 'the right one with a trailing slash', iss: `${ISS}/` },
    { title: 'the right one without its path', iss: 'https://cluster.test' },
    { title: 'an extension of the right one', iss: `${ISS}.evil.test` },
    { title: 'the right one as user name', iss: 'https://cluster.test@evil.test/id' },
    { title: 'in other case', iss: 'https://Cluster.test/id' },
    { title: 'in another scheme', iss: 'http://cluster.test/id' },
    { title: 'with the default port', iss: 'https://cluster.test:443/id' },
    { title: 'with a blank', iss: ` ${ISS}` },
    { title: 'with a dot segment', iss: 'https://cluster.test/./id' },
    { title: 'percent-encoded', iss: 'https://cluster.test/%69d' },
    { title: 'with quotes around it', iss: `"${ISS}"` },
    { title: 'a name every object has', iss: 'constructor' },
    { title: 'the broker’s own', iss: OWN_ISSUER },
  ];
  for (const { title, iss } of rows) {
    it(`refuses an iss that is ${title}, and fetches nothing`, async () => {
      const before = issuer.requests.length;
      expect((await verifier.refuse(issuer.token({ claims: { iss } }))).reason).to.equal(
        'token_issuer',
      );
      expect(issuer.requests).to.have.length(before);
    });
  }

  it('never asks the address that an unknown issuer names', async () => {
    expect((await verifier.refuse(stranger.token())).reason).to.equal('token_issuer');
    expect(stranger.requests).to.deep.equal([]);
  });
  it('tells the operator which issuer was seen, and the caller nothing', async () => {
    const refusal = await verifier.refuse(stranger.token());
    expect(refusal.detail).to.contain(JSON.stringify(stranger.issuer));
    expect(refusal.facts).to.have.all.keys('fingerprint');
  });
  it('does not start with its own issuer in the clusters table', () => {
    const log = createLogger({ level: 'error', process: 'test' });
    const clock = createFakeClock();
    const keys = createClusterKeys({ clusters: [toCluster(issuer)], clock, log });
    expect(() => createVerifier({ keys, clock, ownIssuers: [ISS] })).to.throw(/own issuer/);
  });
  it('refuses a token of the broker’s own even if a cluster’s key signed it', async () => {
    const refusal = await verifier.refuse(
      issuer.token({ claims: { iss: OWN_ISSUER }, mint: { header: { typ: 'JWT' } } }),
    );
    expect(refusal.reason).to.equal('token_issuer');
  });
  it('refuses the right issuer with a key of nobody’s', async () => {
    const key = createSigningKey('ES256', issuer.key.kid);
    expect((await verifier.refuse(issuer.token({ mint: { key } }))).reason).to.equal(
      'token_signature',
    );
  });
});
