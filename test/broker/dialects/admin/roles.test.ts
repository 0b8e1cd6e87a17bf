// Roles over the admin API: created, replaced, seen, deleted, and never beyond what other sources say.
import { expect } from 'chai';
import { type AdminUnderTest, startAdmin, toRole } from './harness.ts';

describe('admin API: roles', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin roles');
  });
  after(() => admin.stop());

  it('serves a role from the moment that its PUT was answered', async () => {
    const role = toRole('fresh', {
      audience: 'fresh',
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
    });
    const token = admin.broker.issuer.token({ audiences: ['fresh'] });
    const before = await admin.broker.exchange({ subject_token: token, audience: 'fresh' });
    expect(before.body.reason).to.equal('no_role');
    const put = await admin.call('PUT /api/v1/roles/fresh', { body: role });
    expect(put.status, put.text).to.equal(200);
    expect(put.body.result).to.equal('created');
    expect(put.body.role).to.include({ name: 'fresh', source: 'api', state: 'Ready', version: 1 });
    const issued = await admin.broker.exchange({ subject_token: token, audience: 'fresh' });
    expect(issued.status).to.equal(200);
  });

  it('lets who may only replace roles replace one, and create none', async () => {
    await admin.call('PUT /api/v1/roles/replaced', { body: toRole('replaced') });
    admin.access.decide = ({ resourceAttributes }) => resourceAttributes?.verb === 'update';
    const token = admin.workload('replacer');
    const changed = toRole('replaced', { requirePod: false });
    const answer = await admin.call('PUT /api/v1/roles/replaced', { token, body: changed });
    expect(answer.status, answer.text).to.equal(200);
    const created = await admin.call('PUT /api/v1/roles/never', { token, body: toRole('never') });
    expect(created.status, created.text).to.equal(403);
    admin.access.decide = () => false;
  });

  it('counts versions, and leaves them where nothing changed', async () => {
    const role = toRole('counted');
    await admin.call('PUT /api/v1/roles/counted', { body: role });
    const again = await admin.call('PUT /api/v1/roles/counted', { body: role });
    expect(again.body.result).to.equal('unchanged');
    const changed = await admin.call('PUT /api/v1/roles/counted', {
      body: toRole('counted', { requirePod: false }),
    });
    expect(changed.body.result).to.equal('changed');
    const got = await admin.call('GET /api/v1/roles/counted');
    expect(got.body).to.include({ version: 2, updatedBy: 'static:bootstrap' });
    expect(got.body.document).to.deep.equal(toRole('counted', { requirePod: false }));
  });

  it('lets one of two writers win who read the same version', async () => {
    await admin.call('PUT /api/v1/roles/contested', { body: toRole('contested') });
    const write = (audience: string) =>
      admin.call('PUT /api/v1/roles/contested?version=1', {
        body: toRole('contested', { audience }),
      });
    const answers = await Promise.all([write('one'), write('two')]);
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 412]);
    const late = await admin.call('PUT /api/v1/roles/contested', {
      body: toRole('contested', { audience: 'three' }),
      headers: { 'if-match': '"1"' },
    });
    expect(late.status).to.equal(412);
    expect(late.body.reason).to.equal('version_mismatch');
  });

  it('lets one of two writers create', async () => {
    const create = (audience: string) =>
      admin.call('PUT /api/v1/roles/raced?version=0', { body: toRole('raced', { audience }) });
    const answers = await Promise.all([create('a'), create('b')]);
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 412]);
  });

  it('writes nothing in a dry run, and refuses in it what it would refuse', async () => {
    const dry = await admin.call('PUT /api/v1/roles/dry?dryRun=true', { body: toRole('dry') });
    expect(dry.body).to.include({ result: 'created', dryRun: true });
    expect((await admin.call('GET /api/v1/roles/dry')).status).to.equal(404);
    const bad = await admin.call('PUT /api/v1/roles/dry?dryRun=true', {
      body: toRole('dry', { token: { policies: ['root'] } }),
    });
    expect(bad.status).to.equal(400);
  });

  it('says where a document is wrong, and quotes nothing of it', async () => {
    const answer = await admin.call('PUT /api/v1/roles/wrong', {
      body: toRole('wrong', { audience: 'has a blank', subjects: [{ namespace: 'shop' }] }),
    });
    expect(answer.status).to.equal(400);
    const paths = (answer.body.details as { path: string }[]).map((one) => one.path);
    expect(paths).to.include('spec.audience');
    expect(answer.text).not.to.include('has a blank');
  });

  it('refuses a name in the document that is not that of the path', async () => {
    const answer = await admin.call('PUT /api/v1/roles/one', { body: toRole('other') });
    expect(answer.status).to.equal(400);
    expect(answer.body.details).to.deep.equal([
      { path: 'metadata.name', problem: 'must be the name in the path' },
    ]);
  });

  it('leaves roles of files to files', async () => {
    const put = await admin.call('PUT /api/v1/roles/payments-checkout', {
      body: toRole('payments-checkout'),
    });
    expect(put.status).to.equal(409);
    const gone = await admin.call('DELETE /api/v1/roles/payments-checkout');
    expect(gone.status).to.equal(409);
    const shown = await admin.call('GET /api/v1/roles/payments-checkout');
    expect(shown.body).to.include({ source: 'file', state: 'Ready', audience: 'payments' });
    expect(shown.body.document).to.have.nested.property('spec.token.ttl', '900s');
  });

  it('refuses what would take a served subject its role, unless forced', async () => {
    const rival = toRole('rival', {
      audience: 'payments',
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
    });
    const refused = await admin.call('PUT /api/v1/roles/rival', { body: rival });
    expect(refused.status).to.equal(409);
    expect(refused.body.details).to.have.length(1);
    const forced = await admin.call('PUT /api/v1/roles/rival?force=true', { body: rival });
    expect(forced.status).to.equal(200);
    expect(forced.body.warnings).to.have.length(1);
    await admin.call('DELETE /api/v1/roles/rival');
    const near = toRole('near', {
      audience: 'payments',
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout2' }],
    });
    expect((await admin.call('PUT /api/v1/roles/near', { body: near })).status).to.equal(200);
  });

  it('refuses an audience that is the id of a client, and a client of that id', async () => {
    await admin.call('POST /api/v1/clients', { body: { id: 'gateway' } });
    const put = await admin.call('PUT /api/v1/roles/clash', {
      body: toRole('clash', { audience: 'gateway' }),
    });
    expect(put.status).to.equal(409);
    const client = await admin.call('POST /api/v1/clients', { body: { id: 'payments' } });
    expect(client.status).to.equal(409);
  });

  it('ends a role at once, and with revoke its JWTs too', async () => {
    const role = toRole('ending', {
      audience: 'ending',
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
    });
    await admin.call('PUT /api/v1/roles/ending', { body: role });
    const subject = admin.broker.issuer.token({ audiences: ['ending'] });
    const issued = await admin.broker.exchange({ subject_token: subject, audience: 'ending' });
    const listed = await admin.call('GET /api/v1/tokens?kind=jwt&role=ending');
    const deleted = await admin.call('DELETE /api/v1/roles/ending?revoke=true');
    expect(deleted.status, deleted.text).to.equal(200);
    expect(deleted.body).to.include({ name: 'ending', revoked: 0 });
    expect(deleted.body.deniedBefore).to.be.a('string');
    const again = await admin.broker.exchange({ subject_token: subject, audience: 'ending' });
    expect(again.body.reason).to.equal('no_role');
    expect(issued.status).to.equal(200);
    expect(listed.status).to.equal(200);
    expect((await admin.call('DELETE /api/v1/roles/ending')).status).to.equal(404);
  });

  it('pages through all roles', async () => {
    const names: string[] = [];
    let after = '';
    for (;;) {
      const page = await admin.call(`GET /api/v1/roles?limit=3${after}`);
      names.push(...(page.body.items as { name: string }[]).map(({ name }) => name));
      if (page.body.next === undefined) break;
      after = `&after=${encodeURIComponent(String(page.body.next))}`;
    }
    const all = await admin.call('GET /api/v1/roles');
    expect(names).to.deep.equal((all.body.items as { name: string }[]).map(({ name }) => name));
    expect(names).to.include.members(['payments-checkout', 'fresh']);
  });
});
