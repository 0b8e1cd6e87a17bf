// Step 2: a broker that follows TokenRoles. What is applied counts within a second, also after the broker or the API
// server were away; the status says what became of each.
import { expect } from 'chai';
import { openCluster } from '../harness/cluster.ts';
import { sendOrder, toControlSocket } from '../harness/control.ts';
import { waitFor } from '../harness/process.ts';
import { READ_NAMESPACES, READ_TOKEN_ROLES, type RoleStage, setRoleStage } from './stage.ts';

/** The promise is a second; kubectl and a busy machine take some of their own. */
const SOON_MS = 2000;

describe('TokenRoles, step 2: a broker that follows them', function () {
  this.timeout(90_000);
  let stage: RoleStage;
  let spec: (audience: string, more?: object) => object;
  before(async function () {
    if (!openCluster().facts.isOurs) return this.skip();
    stage = await setRoleStage([
      {
        apiVersion: 'auth.example.io/v1alpha1',
        kind: 'TokenRole',
        metadata: { name: 'in-a-file' },
        spec: {
          audience: 'files',
          subjects: [{ namespace: 'coatcheck-test-token-roles-*', serviceAccount: 'checkout' }],
          token: { scopes: ['from:file'] },
        },
      },
    ]);
    const subjects = [{ namespace: stage.namespace.name, serviceAccount: 'checkout' }];
    spec = (audience, more = {}) => ({ audience, subjects, ...more });
    return undefined;
  });
  after(() => stage?.clear());

  it('serves a role soon after it was applied, and not before', async () => {
    expect(await stage.exchange('payments')).to.deep.equal({ reason: 'no_role' });
    await stage.applyRole('payments', spec('payments', { token: { scopes: ['a'] } }));
    expect(await stage.waitForOutcome('payments', 'none')).to.be.below(SOON_MS);
    expect(await stage.exchange('payments')).to.deep.equal({ reason: 'none', scope: 'a' });
  });
  it('serves a change of it', async () => {
    await stage.applyRole('payments', spec('payments', { token: { scopes: ['b'] } }));
    const isNew = async () => (await stage.exchange('payments')).scope === 'b';
    await waitFor(isNew, { what: 'the change', withinMs: SOON_MS });
  });
  it('says in the status that the role is in use, where kubectl finds it', async () => {
    const { ready, overlaps, observedGeneration } = await stage.waitForReason(
      'payments',
      'Accepted',
    );
    expect(ready?.status).to.equal('True');
    expect([overlaps, observedGeneration]).to.deep.equal([[], 2]);
    const waited = await stage.cluster.kubectl([
      'wait',
      '--for=condition=Ready',
      'trole/payments',
      '--timeout=10s',
    ]);
    expect(waited.code, waited.stderr).to.equal(0);
    const { stdout } = await stage.cluster.kubectl(['get', 'coatcheck', '-o', 'wide']);
    const [head = '', row = ''] = stdout.trim().split('\n');
    expect(head.split(/\s{2,}/)).to.deep.equal([
      'NAME',
      'AUDIENCE',
      'TYPE',
      'TTL',
      'READY',
      'REASON',
      'AGE',
    ]);
    expect(row.split(/\s+/).slice(0, 3)).to.deep.equal(['payments', 'payments', 'jwt']);
    expect(row).to.match(/True\s+Accepted/);
  });
  it('says of two roles that fit the same subject that they do', async () => {
    await stage.applyRole('twin', spec('payments'));
    const twin = await stage.waitForReason('twin', 'Ambiguous');
    expect([twin.ready?.status, twin.overlaps]).to.deep.equal(['False', ['payments']]);
    const { overlaps } = await stage.waitForReason('payments', 'Ambiguous');
    expect(overlaps).to.deep.equal(['twin']);
    expect(await stage.exchange('payments')).to.deep.equal({ reason: 'no_role' });
    await stage.deleteRole('twin');
    await stage.waitForOutcome('payments', 'none');
    expect((await stage.waitForReason('payments', 'Accepted')).overlaps).to.deep.equal([]);
  });
  it('does not serve a role beyond the limits of the operator, and says why', async () => {
    await stage.applyRole(
      'power',
      spec('power', { token: { policies: ['coatcheck:roles:write'] } }),
    );
    const { ready } = await stage.waitForReason('power', 'Invalid');
    expect(ready?.status).to.equal('False');
    expect(ready?.message).to.include('spec.token.policies[0]: has power at the broker');
    expect(await stage.exchange('power')).to.deep.equal({ reason: 'no_role' });
    await stage.applyRole('power', spec('power', { token: { policies: ['payments'] } }));
    await stage.waitForOutcome('power', 'none');
    await stage.waitForReason('power', 'Accepted');
  });
  it('lets a role file go before a TokenRole of its name, and says so', async () => {
    await stage.applyRole('in-a-file', spec('stolen'));
    const { ready } = await stage.waitForReason('in-a-file', 'Shadowed');
    expect(ready?.status).to.equal('False');
    expect(await stage.exchange('stolen')).to.deep.equal({ reason: 'no_role' });
    expect(await stage.exchange('files')).to.deep.equal({ reason: 'none', scope: 'from:file' });
    await stage.deleteRole('in-a-file');
    expect(await stage.exchange('files')).to.deep.equal({ reason: 'none', scope: 'from:file' });
  });
  it('serves nobody by a role that was deleted', async () => {
    await stage.applyRole('short', spec('short'));
    await stage.waitForOutcome('short', 'none');
    await stage.deleteRole('short');
    expect(await stage.waitForOutcome('short', 'no_role')).to.be.below(SOON_MS);
  });
  it('has its roles again after a restart of the broker, and writes no status twice', async () => {
    const before = await stage.cluster.request('GET', PAYMENTS);
    await stage.restartBroker();
    expect(await stage.exchange('payments')).to.include({ reason: 'none' });
    await stage.applyRole('later', spec('later'));
    await stage.waitForReason('later', 'Accepted');
    const after = await stage.cluster.request('GET', PAYMENTS);
    expect(after.body.metadata).to.deep.equal(before.body.metadata);
  });

  describe('with a namespaceSelector', () => {
    const audience = 'selected';
    const selecting = {
      audience,
      subjects: [
        {
          namespaceSelector: { matchLabels: { 'acme.test/tier': 'web' } },
          serviceAccount: 'checkout',
        },
      ],
    };
    it('serves nobody without the right to read namespaces, and says so', async () => {
      await stage.labelNamespace({ 'acme.test/tier': 'web' });
      await stage.applyRole('selected', selecting);
      const { ready } = await stage.waitForReason('selected', 'NamespacesUnreadable');
      expect(ready?.status).to.equal('False');
      expect(ready?.message).to.include('the broker needs the right to list and watch them');
      expect(await stage.exchange(audience)).to.deep.equal({ reason: 'no_role' });
      expect(await stage.process().readCounter('coatcheck_broker_role_problems')).to.equal(1);
    });
    it('works with the right, without a restart', async () => {
      await stage.grant([...READ_TOKEN_ROLES, ...READ_NAMESPACES]);
      await stage.waitForOutcome(audience, 'none');
      await stage.waitForReason('selected', 'Accepted');
      expect(await stage.process().readCounter('coatcheck_broker_role_problems')).to.equal(0);
    });
    it('serves nobody soon after the label is gone, and again with it', async () => {
      await stage.labelNamespace({ 'acme.test/tier': null });
      expect(await stage.waitForOutcome(audience, 'no_role')).to.be.below(SOON_MS);
      await stage.labelNamespace({ 'acme.test/tier': 'batch' });
      expect(await stage.exchange(audience)).to.deep.equal({ reason: 'no_role' });
      await stage.labelNamespace({ 'acme.test/tier': 'web' });
      expect(await stage.waitForOutcome(audience, 'none')).to.be.below(SOON_MS);
    });
    it('works at once after a restart of the broker', async () => {
      await stage.restartBroker();
      expect(await stage.exchange(audience)).to.include({ reason: 'none' });
    });
  });

  it('serves its last roles while the API server is away, and follows it when it is back', async () => {
    const control = toControlSocket(stage.cluster.facts.workFolder);
    const tokens = await stage.tokens('payments', 50);
    let isBack = false;
    const restarting = sendOrder('restartApiServer', control).finally(() => {
      isBack = true;
    });
    let served = 0;
    while (!isBack) {
      const token = tokens.pop();
      if (token !== undefined) {
        expect(await stage.exchange('payments', token)).to.include({ reason: 'none' });
        served += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await restarting;
    expect(served).to.be.greaterThan(5);
    await stage.applyRole('after', spec('after'));
    await stage.waitForOutcome('after', 'none');
    await stage.waitForReason('after', 'Accepted');
    await stage.labelNamespace({ 'acme.test/tier': null });
    await stage.waitForOutcome('selected', 'no_role');
  });
});

const PAYMENTS = '/apis/auth.example.io/v1alpha1/tokenroles/payments';
