// `PUT /api/v1/clusters/{name}/keys` over HTTP: whose push counts, each yes beside its near misses, what a set must be, and
// what a push ends at once. Two clusters that cannot be reached state the same `iss`, and have a controller of equal names.
import { expect } from 'chai';
import { type Cluster, parseClusters } from '../../../../broker/identity/clusters.ts';
import { type FakeIssuer, startIssuer } from '../../../support/issuer.ts';
import {
  createSigningKey,
  mint,
  type ServiceAccountToken,
  type SigningKey,
  serviceAccountClaims,
} from '../../../support/minting.ts';
import { noteToken } from '../../../support/tokens.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const CONTROL = ['coatcheck-control'];
const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: edge-shop }
spec:
  audience: payments
  subjects:
    - { cluster: edge, namespace: shop, serviceAccount: checkout }
    - { cluster: twin, namespace: shop, serviceAccount: checkout }
`;

type Keys = readonly SigningKey[];
const toJwks = (...keys: Keys) => ({ keys: keys.map(({ jwk }) => jwk) });

/** A token of whatever cluster has the key. */
function tokenOf(key: SigningKey, options: Partial<ServiceAccountToken> = {}): string {
  return noteToken(
    mint({
      key,
      claims: serviceAccountClaims({ issuer: ISSUER, audiences: ['payments'], ...options }),
    }),
  );
}

const ofController = (key: SigningKey, options: Partial<ServiceAccountToken> = {}) =>
  tokenOf(key, { audiences: CONTROL, ...CONTROLLER, ...options });

function toTable(own: FakeIssuer, firsts: { edge: Keys; twin: Keys }): readonly Cluster[] {
  const pushed = (name: 'edge' | 'twin') => ({
    name,
    kind: 'kubernetes',
    issuer: ISSUER,
    controller: CONTROLLER,
    keys: { pushed: { jwks: toJwks(...firsts[name]) } },
    maxStalenessSeconds: 600,
  });
  const local = {
    name: 'local',
    own: true,
    kind: 'kubernetes',
    issuer: own.issuer,
    controller: CONTROLLER,
    keys: { url: own.jwksUrl },
  };
  const clusters = [local, pushed('edge'), pushed('twin')];
  return parseClusters(JSON.stringify({ clusters }), { file: 'clusters.yaml' });
}

describe('admin API: keys that a cluster pushes', () => {
  const edge = createSigningKey('ES256', 'edge-1');
  const next = createSigningKey('ES256', 'edge-2');
  const twin = createSigningKey('RS256', 'twin-1');
  let own: FakeIssuer;
  let admin: AdminUnderTest;
  beforeEach(async () => {
    own = await startIssuer();
    admin = await startAdmin('cluster keys', {
      roles: ROLES,
      fake: own,
      clusters: toTable(own, { edge: [edge], twin: [twin] }),
    });
  });
  afterEach(async () => {
    await admin.stop();
    await own.close();
  });

  const push = (name: string, token: string, body: unknown) =>
    admin.call(`PUT /api/v1/clusters/${name}/keys`, { token, body });
  const exchange = async (token: string) =>
    (await admin.broker.exchange({ subject_token: token })).status;

  it('serves tokens under the keys an entry was registered with', async () => {
    expect(await exchange(tokenOf(edge))).to.equal(200);
    expect(await exchange(tokenOf(next))).to.equal(400);
  });

  it('takes a new key beside the old one, then the new one alone; each holds at once', async () => {
    const both = await push('edge', ofController(edge), toJwks(edge, next));
    expect(both.status, both.text).to.equal(200);
    expect(both.body).to.deep.equal({ cluster: 'edge', keys: 2, changed: true });
    expect(await exchange(tokenOf(next))).to.equal(200);
    const alone = await push('edge', ofController(next), toJwks(next));
    expect(alone.body).to.deep.equal({ cluster: 'edge', keys: 1, changed: true });
    expect(await exchange(tokenOf(next))).to.equal(200);
    expect(await exchange(tokenOf(edge))).to.equal(400);
  });
});
