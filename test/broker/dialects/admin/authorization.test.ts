// Who may use which route: every route of the table against every kind of caller, each allow beside its near misses.
import { expect } from 'chai';
import type { AdminRoute } from '../../../../broker/dialects/admin/route.ts';
import { ROUTES } from '../../../../broker/dialects/admin/routes.ts';
import {
  KUBE_RESOURCES,
  RESOURCES,
  toAccess,
  toPolicy,
  VERBS,
} from '../../../../broker/policies.ts';
import type { AskedAccess } from '../../../support/access-reviews.ts';
import { noteToken } from '../../../support/tokens.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

const NAMES: Readonly<Record<string, string>> = {
  name: 'no-such-name',
  accessor: '0aB1cD2eF3gH4iJ5kL6mN7oP',
  id: 'no-such-client',
};
const toTarget = ({ method, path }: AdminRoute) =>
  `${method} ${path.replace(/\{(\w+)\}/g, (_all, name: string) => NAMES[name] ?? '')}`;
const toBody = ({ body }: AdminRoute) => (body ? { body: {} } : {});
const guarded = ROUTES.filter(({ needs }) => typeof needs === 'object');
const isLetIn = (status: number) => status !== 401 && status !== 403;

describe('admin API: who may', () => {
  let admin: AdminUnderTest;
  const tokens = new Map<string, string>();
  before(async () => {
    admin = await startAdmin('admin authorization');
    for (const resource of RESOURCES) {
      for (const access of ['read', 'write'] as const) {
        const policy = toPolicy(resource, access);
        tokens.set(policy, await admin.makeToken([policy]));
      }
    }
    tokens.set('none', await admin.makeToken([]));
    tokens.set('default', await admin.makeToken(['default']));
    tokens.set('others', await admin.makeToken(['payments']));
  });
  after(() => admin.stop());
  afterEach(() => {
    admin.access.decide = () => false;
  });

  for (const route of ROUTES.filter(({ needs }) => needs !== 'public')) {
    it(`refuses nobody and strangers: ${route.operation}`, async () => {
      for (const token of ['', noteToken('cc_stranger-of-no-form-at-all'), 'a.b.c']) {
        const answer = await admin.call(toTarget(route), { token, ...toBody(route) });
        expect(answer.status).to.equal(401);
        expect(answer.headers.get('www-authenticate')).to.equal('Bearer realm="coatcheck"');
        expect(answer.body.reason).to.equal('bearer_invalid');
      }
    });
  }

  for (const route of guarded) {
    const { needs, operation } = route;
    if (typeof needs !== 'object') continue;
    const { resource, verb } = needs;
    const access = toAccess(verb);

    it(`lets in by the policy ${toPolicy(resource, access)} and refuses by its neighbours: ${operation}`, async () => {
      const ask = async (policy: string) =>
        (await admin.call(toTarget(route), { token: tokens.get(policy), ...toBody(route) })).status;
      expect(isLetIn(await ask(toPolicy(resource, access)))).to.equal(true);
      expect(isLetIn(await ask(toPolicy(resource, 'write')))).to.equal(true);
      if (access === 'write') expect(await ask(toPolicy(resource, 'read'))).to.equal(403);
      const others = RESOURCES.filter((other) => other !== resource);
      for (const other of others) expect(await ask(toPolicy(other, 'write'))).to.equal(403);
      for (const policy of ['none', 'default', 'others']) expect(await ask(policy)).to.equal(403);
    });

    it(`lets in by RBAC ${verb} ${KUBE_RESOURCES[resource]} and by no other right: ${operation}`, async () => {
      const isRight = ({ resourceAttributes: asked }: AskedAccess) =>
        asked.verb === verb &&
        asked.resource === KUBE_RESOURCES[resource] &&
        asked.group === 'auth.example.io';
      admin.access.decide = (asked) =>
        isRight(asked) && asked.resourceAttributes.namespace === undefined;
      const right = await admin.call(toTarget(route), {
        token: admin.workload(`right-${operation.toLowerCase()}`),
        ...toBody(route),
      });
      expect(isLetIn(right.status), right.text).to.equal(true);
      admin.access.decide = (asked) => !isRight(asked);
      const wrong = await admin.call(toTarget(route), {
        token: admin.workload(`wrong-${operation.toLowerCase()}`),
        ...toBody(route),
      });
      expect(wrong.status).to.equal(403);
    });
  }

  it('asks RBAC about the user, uid and groups that the API server itself would see', async () => {
    admin.access.decide = () => true;
    await admin.call('GET /api/v1/roles', { token: admin.workload('auditor', 'sec') });
    const { user, uid, groups, extra, resourceAttributes } = admin.access.asked.at(
      -1,
    ) as AskedAccess;
    expect(user).to.equal('system:serviceaccount:sec:auditor');
    expect(uid).to.be.a('string').and.not.equal('');
    expect(groups).to.deep.equal([
      'system:serviceaccounts',
      'system:serviceaccounts:sec',
      'system:authenticated',
    ]);
    expect(Object.keys(extra ?? {})).to.include('authentication.kubernetes.io/pod-name');
    expect(resourceAttributes).to.deep.equal({
      verb: 'list',
      group: 'auth.example.io',
      resource: 'tokenroles',
    });
  });

  it('asks the API server once in ten seconds per user and question', async () => {
    admin.access.decide = () => true;
    const token = admin.workload('asked-once');
    const before = admin.access.asked.length;
    for (let i = 0; i < 5; i++) await admin.call('GET /api/v1/roles', { token });
    expect(admin.access.asked.length - before).to.equal(1);
  });

  for (const failure of [500, 403, 401, 'no review'] as const) {
    it(`says 503 and lets nobody in where the API server answers ${failure}`, async () => {
      admin.access.decide = () => failure;
      const answer = await admin.call('GET /api/v1/roles', {
        token: admin.workload(`unlucky-${String(failure).replace(' ', '')}`),
      });
      expect(answer.status).to.equal(503);
      expect(answer.body.reason).to.equal('unavailable');
      expect(answer.headers.get('retry-after')).to.equal('2');
    });
  }

  it('tells a caller without rights nothing about names that exist or not', async () => {
    const token = tokens.get('none');
    const known = await admin.call('GET /api/v1/roles/payments-checkout', { token });
    const unknown = await admin.call('GET /api/v1/roles/no-such-role', { token });
    const { correlation_id: _one, ...first } = known.body;
    const { correlation_id: _two, ...second } = unknown.body;
    expect([known.status, unknown.status]).to.deep.equal([403, 403]);
    expect(first).to.deep.equal(second);
  });

  it('validates nothing for a caller without rights', async () => {
    const answer = await admin.call('PUT /api/v1/roles/x?nonsense=1', {
      token: tokens.get('none'),
      body: '{ not json',
    });
    expect(answer.status).to.equal(403);
  });

  it('gives registered clients a face and no power', async () => {
    const made = await admin.call('POST /api/v1/clients', { body: { id: 'gateway' } });
    const secret = noteToken(String(made.body.secret));
    const basic = `Basic ${Buffer.from(`gateway:${secret}`).toString('base64')}`;
    const who = await admin.call('GET /api/v1/whoami', {
      token: '',
      headers: { authorization: basic },
    });
    expect(who.body).to.include({ subject: 'client:gateway', via: 'client' });
    expect(who.body.capabilities).to.deep.equal([]);
    for (const route of guarded) {
      const answer = await admin.call(toTarget(route), {
        token: '',
        headers: { authorization: basic },
        ...toBody(route),
      });
      expect(answer.status, route.operation).to.equal(403);
    }
  });

  it('counts failed authentications', async () => {
    const before = await readFailures(admin);
    await admin.call('GET /api/v1/whoami', { token: '' });
    expect((await readFailures(admin)) - before).to.equal(1);
  });

  it('refuses a ServiceAccount token of another audience, and one that several may see', async () => {
    admin.access.decide = () => true;
    const { issuer, url } = admin.broker;
    for (const audiences of [['payments'], [url, 'payments']]) {
      const token = issuer.token({ namespace: 'ops', serviceAccount: 'admin', audiences });
      const answer = await admin.call('GET /api/v1/roles', { token });
      expect(answer.status).to.equal(401);
    }
  });

  it('says what is missing and what would give it', async () => {
    const token = tokens.get('coatcheck:roles:read');
    const { body } = await admin.call('GET /api/v1/whoami', { token });
    expect(body.capabilities).to.deep.equal(['roles:read']);
    expect(body.rights).to.have.nested.property('roles.list', true);
    expect(body.rights).to.have.nested.property('roles.update', false);
    expect(body.missing).to.deep.include({
      capability: 'roles:write',
      grantedBy: 'a token with the policy coatcheck:roles:write',
    });
    admin.access.decide = ({ resourceAttributes: asked }) => asked.verb !== 'delete';
    const workload = await admin.call('GET /api/v1/whoami', { token: admin.workload('curious') });
    expect(workload.body.capabilities).to.deep.equal(RESOURCES.map((one) => `${one}:read`));
    expect(workload.body.missing).to.deep.include({
      capability: 'keys:write',
      grantedBy: 'an RBAC rule: apiGroups [auth.example.io], resources [keys], verbs [delete]',
    });
    expect(Object.keys(workload.body.rights as object)).to.deep.equal([...RESOURCES]);
    expect(VERBS).to.have.length(5);
  });

  it('records in the audit who wrote what, and whoever was not let in', async () => {
    await admin.call('DELETE /api/v1/clients/gateway', {
      token: tokens.get('coatcheck:clients:read'),
    });
    expect(admin.records().at(-1)).to.include({
      kind: 'admin',
      action: 'deleteClient',
      resource: 'clients',
      name: 'gateway',
      outcome: 'deny',
      reason: 'bearer_forbidden',
      via: 'token',
    });
    await admin.call('DELETE /api/v1/clients/gateway');
    expect(admin.records().at(-1)).to.include({
      action: 'deleteClient',
      outcome: 'allow',
      subject: 'static:bootstrap',
    });
    await admin.call('GET /api/v1/clients', { token: '' });
    expect(admin.records().at(-1)).to.include({
      action: 'listClients',
      outcome: 'deny',
      reason: 'bearer_invalid',
    });
    const count = admin.records().length;
    await admin.call('GET /api/v1/clients');
    expect(admin.records()).to.have.length(count);
  });
});

async function readFailures(admin: AdminUnderTest): Promise<number> {
  const text = await admin.broker.running.broker.metrics.registry.metrics();
  return Number(
    /^coatcheck_broker_authentication_failures_total\{dialect="admin"\} (\d+)/m.exec(text)?.[1] ??
      0,
  );
}
