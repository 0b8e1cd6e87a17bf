// The row `rights` of the doctor without SubjectAccessReviews: what bindings and rules give each ServiceAccount.
import { expect } from 'chai';
import { askSpoilt, type Told } from './asking.ts';
import { type FakeCluster, type Json, startCluster, type World } from './cluster.ts';

describe('the rights of an installation, for somebody who may read RBAC and may not ask the authorizer', () => {
  let cluster: FakeCluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster.close());

  const RBAC = '/apis/rbac.authorization.k8s.io/v1';
  const HERE = `${RBAC}/namespaces/auth`;
  const rule = (group: string, resources: string, verbs: string, resourceNames?: string[]) => ({
    apiGroups: [group],
    resources: resources.split(','),
    verbs: verbs.split(','),
    ...(resourceNames && { resourceNames }),
  });
  const bind = (part: string, kind = 'ClusterRole') => ({
    metadata: { name: part, ...(kind === 'Role' && { namespace: 'auth' }) },
    roleRef: { kind, name: part },
    subjects: [{ kind: 'ServiceAccount', name: `coatcheck-${part}`, namespace: 'auth' }],
  });
  function withRoles(world: World): Map<string, { rules: object[] }> {
    const { objects } = world;
    world.isForbidden = (_, at) => at.endsWith('/subjectaccessreviews');
    const read = 'get,list,watch';
    const roles = new Map<string, { rules: object[] }>([
      [
        `${RBAC}/clusterroles/broker`,
        {
          rules: [
            rule('authentication.k8s.io', 'tokenreviews', 'create'),
            rule('authorization.k8s.io', 'subjectaccessreviews', 'create'),
            rule('auth.example.io', 'tokenroles', read),
            rule('auth.example.io', 'tokenroles/status', 'patch'),
          ],
        },
      ],
      [
        `${RBAC}/clusterroles/controller`,
        {
          rules: [
            rule('', 'pods,serviceaccounts', read),
            rule('events.k8s.io', 'events', 'create'),
            rule('admissionregistration.k8s.io', 'mutatingwebhookconfigurations', 'patch', [
              'coatcheck-webhook',
            ]),
          ],
        },
      ],
      [
        `${HERE}/roles/controller`,
        {
          rules: [
            rule('coordination.k8s.io', 'leases', 'create'),
            rule('coordination.k8s.io', 'leases', 'get,patch', ['coatcheck-controller']),
            rule('', 'secrets', 'get,update', ['coatcheck-certificates']),
          ],
        },
      ],
      [
        `${RBAC}/clusterroles/keys`,
        { rules: [{ nonResourceURLs: ['/openid/v1/*'], verbs: ['get'] }] },
      ],
    ]);
    for (const [at, role] of roles) objects.set(at, role as unknown as Json);
    objects.set(`${RBAC}/clusterrolebindings/broker`, bind('broker'));
    objects.set(`${RBAC}/clusterrolebindings/controller`, bind('controller'));
    objects.set(`${HERE}/rolebindings/controller`, bind('controller', 'Role'));
    objects.set(`${RBAC}/clusterrolebindings/keys`, {
      ...bind('keys'),
      subjects: [{ kind: 'Group', name: 'system:serviceaccounts' }],
    });
    return roles;
  }
  const findRights = ({ rows }: Told) =>
    rows.filter(({ check }) => check === 'rights').map(({ state, seen }) => `${state}: ${seen}`);

  it('counts what the roles say', async () => {
    const told = await askSpoilt(cluster, (world) => void withRoles(world));
    expect(findRights(told)).to.have.lengthOf(1);
    expect(findRights(told)[0]).to.match(/^ok: .*by what RBAC/);
  });

  const wrong: readonly { name: string; spoil: (world: World) => void; says: string }[] = [
    {
      name: 'a binding that is gone',
      spoil: ({ objects }) => void objects.delete(`${HERE}/rolebindings/controller`),
      says: 'problem: ServiceAccount coatcheck-controller may not create leases.coordination.k8s.io in auth',
    },
    {
      name: 'a rule for another name',
      spoil: ({ objects }) =>
        void objects.set(`${HERE}/roles/controller`, {
          rules: [
            rule('coordination.k8s.io', 'leases', '*', ['other']),
            rule('coordination.k8s.io', 'leases', 'create'),
            rule('', 'secrets', 'get,update', ['coatcheck-certificates']),
          ],
        }),
      says: 'problem: ServiceAccount coatcheck-controller may not get leases.coordination.k8s.io coatcheck-controller in auth',
    },
    {
      name: 'keys that nobody may read',
      spoil: ({ objects }) => void objects.delete(`${RBAC}/clusterrolebindings/keys`),
      says: 'problem: ServiceAccount coatcheck-broker may not get /openid/v1/jwks',
    },
    {
      name: 'a role that is for everything',
      spoil: ({ objects }) => {
        objects.set(`${RBAC}/clusterroles/all`, { rules: [rule('*', '*', '*')] });
        objects.set(`${HERE}/rolebindings/webhook`, {
          ...bind('webhook', 'Role'),
          roleRef: { kind: 'ClusterRole', name: 'all' },
        });
      },
      says: 'warning: ServiceAccount coatcheck-webhook may list secrets in auth, which it does not need',
    },
  ];
  for (const { name, spoil, says } of wrong) {
    it(`names ${name}`, async () => {
      const told = await askSpoilt(cluster, (world) => {
        withRoles(world);
        spoil(world);
      });
      expect(findRights(told)).to.include(says);
    });
  }

  it('says what is missing where RBAC may not be read either', async () => {
    const told = await askSpoilt(cluster, (world) => {
      world.isForbidden = (_, at) => at.endsWith('/subjectaccessreviews') || at.startsWith(RBAC);
    });
    expect(findRights(told)).to.deep.equal([
      'unknown: no right to create subjectaccessreviews.authorization.k8s.io',
    ]);
  });
});
