// Decisions over the admin API: looked up, and made again without issuing anything.
import { expect } from 'chai';
import type { AskedAccess } from '../../../support/access-reviews.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

type Item = Readonly<Record<string, unknown>>;

describe('admin API: decisions', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin decisions');
    const { issuer } = admin.broker;
    const pod = { name: 'web-0', uid: 'uid-web-0' };
    await admin.broker.exchange({ subject_token: issuer.token({ pod }), audience: 'payments' });
    const stranger = issuer.token({ pod, serviceAccount: 'stranger' });
    await admin.broker.exchange({ subject_token: stranger, audience: 'payments' });
    const other = issuer.token({ namespace: 'other', audiences: ['others'] });
    await admin.broker.exchange({ subject_token: other, audience: 'others' });
    // They are written behind.
    for (let i = 0; i < 200; i++) {
      const { body } = await admin.call('GET /api/v1/decisions');
      if ((body.items as Item[]).length === 3) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('the decisions never came');
  });
  after(() => admin.stop());
  afterEach(() => {
    admin.access.decide = () => false;
  });

  const list = async (query: string) =>
    (await admin.call(`GET /api/v1/decisions?${query}`)).body.items as Item[];

  it('are the very records of the audit, newest first', async () => {
    const items = await list('');
    const audited = admin.broker.audit.filter(({ kind }) => kind === 'decision').reverse();
    expect(items).to.deep.equal(audited.map(({ kind: _kind, ...record }) => record));
  });

  const filters: readonly [query: string, count: number][] = [
    ['namespace=shop', 2],
    ['namespace=sho', 0],
    ['pod=web-0', 2],
    ['pod=web-0&outcome=allow', 1],
    ['outcome=deny&reason=role_mismatch&audience=payments', 1],
    ['serviceAccount=stranger', 1],
    ['role=payments-checkout', 1],
    ['audience=nothing', 0],
    ['since=2100-01-01T00:00:00Z', 0],
    ['since=2000-01-01T00:00:00Z', 3],
  ];
  for (const [query, count] of filters) {
    it(`are ${count} for ${query}`, async () => {
      expect(await list(query)).to.have.length(count);
    });
  }

  it('are found by the correlation id that a caller was told', async () => {
    const [first] = await list('namespace=other');
    expect(await list(`id=${String(first?.correlationId)}`)).to.deep.equal([first]);
  });

  for (const query of [
    'outcome=maybe',
    'since=yesterday',
    'limit=0',
    'limit=1001',
    'pods=x',
    'pod=a&pod=b',
  ]) {
    it(`refuse the query ${query}`, async () => {
      expect((await admin.call(`GET /api/v1/decisions?${query}`)).status).to.equal(400);
    });
  }

  it('are for a caller of one namespace those of that namespace', async () => {
    admin.access.decide = ({ resourceAttributes: { namespace } }: AskedAccess) =>
      namespace === 'shop';
    const token = admin.workload('lead', 'shop');
    const own = await admin.call('GET /api/v1/decisions?namespace=shop', { token });
    expect(own.body.items).to.have.length(2);
    expect((await admin.call('GET /api/v1/decisions?namespace=other', { token })).status).to.equal(
      403,
    );
    expect((await admin.call('GET /api/v1/decisions', { token })).status).to.equal(403);
  });

  it('list the JWTs that live, until they are revoked', async () => {
    const jwts = async () => (await admin.call('GET /api/v1/tokens?kind=jwt')).body.items as Item[];
    const [jwt] = await jwts();
    expect(jwt).to.include({ kind: 'jwt', role: 'payments-checkout', pod: 'web-0' });
    expect((await admin.call(`GET /api/v1/tokens/${String(jwt?.accessor)}`)).status).to.equal(200);
    expect((await admin.call(`DELETE /api/v1/tokens/${String(jwt?.accessor)}`)).status).to.equal(
      200,
    );
    expect(await jwts()).to.deep.equal([]);
  });

  it('explain a token as the exchange would, and issue nothing', async () => {
    const { issuer, audit } = admin.broker;
    const before = audit.filter(({ kind }) => kind === 'decision').length;
    const token = issuer.token({});
    const { status, body, text } = await admin.call('POST /api/v1/decisions/explain', {
      body: { token, audience: 'payments' },
    });
    expect(status, text).to.equal(200);
    expect(body.hypothetical).to.equal(false);
    expect(body.decision).to.include({ outcome: 'allow', role: 'payments-checkout' });
    expect(text).not.to.include(token);
    expect(audit.filter(({ kind }) => kind === 'decision')).to.have.length(before);
    expect(JSON.stringify(admin.records())).not.to.include(token);
    expect(admin.records().at(-1)).to.include({ action: 'explain', decided: 'allow' });
  });

  it('explain a subject that is only described, and say so', async () => {
    const ask = (body: object) => admin.call('POST /api/v1/decisions/explain', { body });
    const subject = { namespace: 'shop', serviceAccount: 'checkout', audience: 'payments' };
    const allowed = await ask({ ...subject, pod: 'web-0' });
    expect(allowed.body).to.have.property('hypothetical', true);
    expect(allowed.body.decision).to.include({ outcome: 'allow', role: 'payments-checkout' });
    const unbound = await ask(subject);
    expect(unbound.body.decision).to.include({ outcome: 'deny', reason: 'token_unbound' });
    const near = await ask({ ...subject, serviceAccount: 'checkou', pod: 'web-0' });
    expect(near.body.decision).to.include({ outcome: 'deny', reason: 'role_mismatch' });
    for (const member of ['namespace', 'serviceAccount', 'audience'] as const) {
      const { [member]: _without, ...rest } = subject;
      expect((await ask(rest)).status, `without ${member}`).to.equal(400);
    }
    expect((await ask({ ...subject, cluster: 'nowhere' })).status).to.equal(400);
    expect((await ask({ token: 'x', namespace: 'shop' })).status).to.equal(400);
  });

  it('explain to a caller of one namespace what is of it, and no token of another', async () => {
    admin.access.decide = ({ resourceAttributes: { namespace } }: AskedAccess) =>
      namespace === 'shop';
    const token = admin.workload('explainer', 'shop');
    const ask = (query: string, body: object) =>
      admin.call(`POST /api/v1/decisions/explain${query}`, { token, body });
    const { issuer } = admin.broker;
    const own = await ask('?namespace=shop', { token: issuer.token({}), audience: 'payments' });
    expect(own.status, own.text).to.equal(200);
    const foreign = issuer.token({ namespace: 'other', audiences: ['others'] });
    expect((await ask('?namespace=shop', { token: foreign })).status).to.equal(403);
    expect((await ask('?namespace=shop', { token: 'garbage' })).status).to.equal(403);
    const subject = { serviceAccount: 'checkout', pod: 'web-0', audience: 'payments' };
    expect((await ask('', { ...subject, namespace: 'shop' })).status).to.equal(200);
    expect((await ask('', { ...subject, namespace: 'other' })).status).to.equal(403);
    expect((await ask('?namespace=shop', { ...subject, namespace: 'other' })).status).to.equal(400);
  });

  it('explain a pod: what was decided, and what would be decided now', async () => {
    const ask = async () =>
      (await admin.call('GET /api/v1/decisions/explain?namespace=shop&pod=web-0')).body;
    const { past, now } = (await ask()) as { past: Item[]; now: Item[] };
    expect(past.map(({ outcome }) => outcome)).to.deep.equal(['deny', 'allow']);
    expect(now.map(({ outcome, serviceAccount }) => `${serviceAccount} ${outcome}`)).to.deep.equal([
      'stranger deny',
      'checkout allow',
    ]);
    const none = await admin.call('GET /api/v1/decisions/explain?namespace=shop&pod=web');
    expect(none.body).to.deep.equal({ past: [], now: [] });
  });
});
