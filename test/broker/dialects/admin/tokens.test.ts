// Tokens over the admin API: static ones made within one's own power, lists, and ends that hold at once.
import { expect } from 'chai';
import type { AskedAccess } from '../../../support/access-reviews.ts';
import { noteToken } from '../../../support/tokens.ts';
import { type AdminUnderTest, startAdmin, toRole } from './harness.ts';

interface Details {
  readonly path: string;
}
const pathsOf = (body: Readonly<Record<string, unknown>>) =>
  ((body.details ?? []) as Details[]).map(({ path }) => path);

describe('admin API: tokens', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin tokens');
    for (const [name, namespace] of [
      ['opaque-shop', 'shop'],
      ['opaque-other', 'other'],
    ] as const) {
      const put = await admin.call(`PUT /api/v1/roles/${name}`, {
        body: toRole(name, {
          audience: name,
          subjects: [{ namespace, serviceAccount: 'checkout' }],
          token: { type: 'opaque', ttl: '5m', maxTtl: '10m' },
        }),
      });
      expect(put.status, put.text).to.equal(200);
    }
  });
  after(() => admin.stop());
  afterEach(() => {
    admin.access.decide = () => false;
  });

  const exchange = async (audience: string, namespace = 'shop', pod?: string) => {
    const subject = admin.broker.issuer.token({
      audiences: [audience],
      namespace,
      ...(pod !== undefined && { pod: { name: pod, uid: `uid-${pod}` } }),
    });
    const answer = await admin.broker.exchange({ subject_token: subject, audience });
    expect(answer.status, answer.text).to.equal(200);
    return String(answer.body.access_token);
  };
  const accessorOf = (token: string) => token.slice(3, 27);

  it('makes a static token, shows it once, and lists it without', async () => {
    const body = {
      name: 'ci',
      description: 'for CI',
      policies: ['coatcheck:roles:read'],
      ttl: '12h',
    };
    const made = await admin.call('POST /api/v1/tokens', { body });
    expect(made.status, made.text).to.equal(201);
    const token = noteToken(String(made.body.token));
    expect(token).to.match(/^cc_[0-9A-Za-z]{73}$/);
    expect((await admin.call('GET /api/v1/roles', { token })).status).to.equal(200);
    const shown = await admin.call(`GET /api/v1/tokens/${String(made.body.accessor)}`);
    expect(shown.body).to.include({ name: 'ci', kind: 'static', createdBy: 'static:bootstrap' });
    expect(shown.text).not.to.include(token);
    const listed = await admin.call('GET /api/v1/tokens?kind=static');
    expect(listed.text).to.include('"ci"').and.not.to.include(token);
    const again = await admin.call('POST /api/v1/tokens', { body });
    expect(again.status).to.equal(409);
    expect(pathsOf(again.body)).to.deep.equal(['name']);
  });

  const invalid: readonly [title: string, body: object, path: string][] = [
    ['no ttl', { name: 'x' }, 'ttl'],
    ['no name', { ttl: '1h' }, 'name'],
    ['a ttl of nothing', { name: 'x', ttl: '0s' }, 'ttl'],
    ['a ttl in other words', { name: 'x', ttl: 'soon' }, 'ttl'],
    [
      'a broker policy that does not exist',
      { name: 'x', ttl: '1h', policies: ['coatcheck:roles:admin'] },
      'policies[0]',
    ],
    [
      'a broker policy in other letters',
      { name: 'x', ttl: '1h', policies: ['ROOT'] },
      'policies[0]',
    ],
    ['a reserved audience', { name: 'x', ttl: '1h', audience: 'sts.amazonaws.com' }, 'audience'],
    ['the name of the bootstrap token', { name: 'Bootstrap', ttl: '1h' }, 'name'],
    ['a repeated scope', { name: 'x', ttl: '1h', scopes: ['a', 'a'] }, 'scopes'],
    ['an unknown member', { name: 'x', ttl: '1h', admin: true }, ''],
  ];
  for (const [title, body, path] of invalid) {
    it(`refuses a static token with ${title}`, async () => {
      const answer = await admin.call('POST /api/v1/tokens', { body });
      expect(answer.status).to.equal(400);
      expect(pathsOf(answer.body)).to.include(path);
    });
  }

  it("binds even root to the operator's ceiling, to the second", async () => {
    const ceiling = 90 * 86_400;
    const over = await admin.call('POST /api/v1/tokens', {
      body: { name: 'over', ttl: ceiling + 1 },
    });
    expect(over.status).to.equal(403);
    expect(over.body.reason).to.equal('beyond_own');
    const at = await admin.call('POST /api/v1/tokens', { body: { name: 'at', ttl: ceiling } });
    expect(at.status).to.equal(201);
    noteToken(String(at.body.token));
  });

  const handed: readonly [title: string, own: object, wanted: object, path: string | undefined][] =
    [
      [
        'its own policy',
        { policies: ['coatcheck:tokens:write', 'payments'] },
        { policies: ['payments'] },
        undefined,
      ],
      [
        'the reading half of what it may write',
        { policies: ['coatcheck:tokens:write'] },
        { policies: ['coatcheck:tokens:read'] },
        undefined,
      ],
      ['root', { policies: ['coatcheck:tokens:write'] }, { policies: ['root'] }, 'policies[0]'],
      [
        'the writing half of what it may read',
        { policies: ['coatcheck:tokens:write', 'coatcheck:roles:read'] },
        { policies: ['coatcheck:roles:write'] },
        'policies[0]',
      ],
      [
        "a receiver's policy that it has not",
        { policies: ['coatcheck:tokens:write'] },
        { policies: ['payments'] },
        'policies[0]',
      ],
      [
        'as much life as it has left',
        { policies: ['coatcheck:tokens:write'] },
        { ttl: '29m' },
        undefined,
      ],
      [
        'more life than it has left',
        { policies: ['coatcheck:tokens:write'] },
        { ttl: '31m' },
        'ttl',
      ],
      [
        'an audience, where it may write roles too',
        { policies: ['coatcheck:tokens:write', 'coatcheck:roles:write'] },
        { audience: 'any' },
        undefined,
      ],
      [
        'an audience, where it may only make tokens',
        { policies: ['coatcheck:tokens:write'] },
        { audience: 'any' },
        'audience',
      ],
    ];
  for (const [title, own, wanted, path] of handed) {
    it(`${path === undefined ? 'lets' : 'does not let'} a token hand on ${title}`, async () => {
      const { policies, ...more } = own as { policies: string[] };
      const token = await admin.makeToken(policies, more);
      const body = { name: `handed-${Math.abs(hash(title))}`, ttl: '5m', ...wanted };
      const answer = await admin.call('POST /api/v1/tokens', { token, body });
      if (answer.status === 201) noteToken(String(answer.body.token));
      expect(answer.status, answer.text).to.equal(path === undefined ? 201 : 403);
      expect(pathsOf(answer.body)).to.deep.equal(path === undefined ? [] : [path]);
    });
  }

  it('lets nobody hand on through a role what they may not hand on as a token', async () => {
    const token = await admin.makeToken(['coatcheck:roles:write', 'payments']);
    const put = (name: string, spec: object) =>
      admin.call(`PUT /api/v1/roles/${name}`, { token, body: toRole(name, spec) });
    expect(
      (await put('mine', { token: { policies: ['payments'], ttl: '5m', maxTtl: '10m' } })).status,
    ).to.equal(200);
    const foreign = await put('foreign', {
      token: { policies: ['billing'], ttl: '5m', maxTtl: '10m' },
    });
    expect([foreign.status, ...pathsOf(foreign.body)]).to.deep.equal([
      403,
      'spec.token.policies[0]',
    ]);
    const long = await put('long', { token: { ttl: '5m', maxTtl: '45m' } });
    expect([long.status, ...pathsOf(long.body)]).to.deep.equal([403, 'spec.token.maxTtl']);
  });

  it('lets a workload hand on a broker policy only where RBAC gives it all of that', async () => {
    const may = (verbs: readonly string[]) => (asked: AskedAccess) =>
      (asked.resourceAttributes.resource === 'tokens' &&
        asked.resourceAttributes.verb === 'create') ||
      (asked.resourceAttributes.resource === 'tokenroles' &&
        verbs.includes(asked.resourceAttributes.verb ?? ''));
    const create = (serviceAccount: string, policies: string[]) =>
      admin.call('POST /api/v1/tokens', {
        token: admin.workload(serviceAccount),
        body: { name: serviceAccount, ttl: '1h', policies },
      });
    admin.access.decide = may(['get', 'list', 'create', 'update']);
    const most = await create('most', ['coatcheck:roles:write']);
    expect(most.status).to.equal(403);
    admin.access.decide = may(['get', 'list', 'create', 'update', 'delete']);
    const all = await create('all', ['coatcheck:roles:write', 'payments', 'default']);
    expect(all.status, all.text).to.equal(201);
    noteToken(String(all.body.token));
    expect((await create('root-wanting', ['root'])).status).to.equal(403);
  });

  it('shows, and ends, one’s own token with the policy default', async () => {
    const token = await admin.makeToken(['default']);
    const self = await admin.call('GET /api/v1/tokens/self', { token });
    expect(self.body).to.include({ kind: 'static', accessor: accessorOf(token) });
    const renewed = await admin.call('POST /api/v1/tokens/self/renew', { token });
    expect(renewed.status, 'static tokens are not renewed').to.equal(409);
    const ended = await admin.call('DELETE /api/v1/tokens/self', { token });
    expect(ended.body).to.deep.equal({ revoked: 1 });
    expect((await admin.call('GET /api/v1/tokens/self', { token })).status).to.equal(401);
    const without = await admin.makeToken([]);
    expect((await admin.call('GET /api/v1/tokens/self', { token: without })).status).to.equal(403);
  });

  it('ends one token by its accessor at once', async () => {
    const token = await admin.makeToken(['coatcheck:roles:read']);
    const target = `/api/v1/tokens/${accessorOf(token)}`;
    expect((await admin.call('GET /api/v1/roles', { token })).status).to.equal(200);
    expect((await admin.call(`DELETE ${target}`)).status).to.equal(200);
    expect((await admin.call('GET /api/v1/roles', { token })).status).to.equal(401);
    expect((await admin.call(`DELETE ${target}`)).status).to.equal(404);
    expect((await admin.call(`GET ${target}`)).status).to.equal(404);
  });

  it('says of a misspelt accessor that there is no such token, and denies nothing by it', async () => {
    for (const id of ['nonsense', '0aB1cD2eF3gH4iJ5kL6mN7o', '0aB1cD2eF3gH4iJ5kL6mN7oPx'])
      expect((await admin.call(`DELETE /api/v1/tokens/${id}`)).status, id).to.equal(404);
    const jwt = `DELETE /api/v1/tokens/5e0c9b0e-6a4c-4d5e-9d43-6d7a6f6f0a11.0123456789`;
    expect((await admin.call(jwt)).status).to.equal(200);
  });

  it('prolongs an opaque client token by the role of now', async () => {
    const accessor = accessorOf(await exchange('opaque-shop'));
    const renewed = await admin.call(`POST /api/v1/tokens/${accessor}/renew`);
    expect(renewed.status, renewed.text).to.equal(200);
    expect(renewed.body).to.include({ accessor, role: 'opaque-shop' });
  });

  it('ends tokens in bulk by pod, and leaves the neighbour’s', async () => {
    const [one, two, near] = [
      await exchange('opaque-shop', 'shop', 'web-1'),
      await exchange('opaque-shop', 'shop', 'web-1'),
      await exchange('opaque-shop', 'shop', 'web-10'),
    ];
    const done = await admin.call('POST /api/v1/tokens/revoke', {
      body: { namespace: 'shop', pod: 'web-1' },
    });
    expect(done.status, done.text).to.equal(200);
    expect(done.body.revoked).to.equal(2);
    expect(done.body.deniedBefore).to.be.a('string');
    const status = async (token: string) =>
      (await admin.call(`GET /api/v1/tokens/${accessorOf(token)}`)).status;
    expect([await status(one), await status(two), await status(near)]).to.deep.equal([
      404, 404, 200,
    ]);
  });

  for (const body of [
    {},
    { tokenId: 'x', pod: 'y' },
    { kind: 'jwt', pod: 'y' },
    { pod: 'y\0' },
    { colour: 'red' },
  ]) {
    it(`refuses to end ${JSON.stringify(body)}`, async () => {
      const answer = await admin.call('POST /api/v1/tokens/revoke', { body });
      expect(answer.status).to.equal(400);
    });
  }

  it('does not take a token for its name: it would be stored as it is, and go on living', async () => {
    const token = await exchange('opaque-shop');
    const inPath = await admin.call(`DELETE /api/v1/tokens/${token}`);
    const inBody = await admin.call('POST /api/v1/tokens/revoke', { body: { tokenId: token } });
    expect([inPath.status, inBody.status]).to.deep.equal([404, 404]);
    const denied = await admin.store.denials.list(0);
    expect(denied.some(({ tokenId }) => tokenId === token)).to.equal(false);
    expect(JSON.stringify(admin.records())).not.to.include(token);
    const byName = await admin.call(`DELETE /api/v1/tokens/${accessorOf(token)}`);
    expect(byName.status).to.equal(200);
  });

  describe('for a caller with rights in one namespace', () => {
    const inShop = ({ resourceAttributes: { namespace } }: AskedAccess) => namespace === 'shop';
    beforeEach(() => {
      admin.access.decide = inShop;
    });
    const ask = (route: string, body?: object) =>
      admin.call(route, { token: admin.workload('lead', 'shop'), ...(body && { body }) });

    it('shows only what is of that namespace', async () => {
      await exchange('opaque-shop');
      await exchange('opaque-other', 'other');
      expect((await ask('GET /api/v1/tokens')).status).to.equal(403);
      expect((await ask('GET /api/v1/tokens?namespace=other')).status).to.equal(403);
      expect((await ask('GET /api/v1/tokens?namespace=sh*p')).status).to.equal(403);
      const { body, status, text } = await ask('GET /api/v1/tokens?namespace=shop');
      expect(status, text).to.equal(200);
      const items = body.items as { namespace?: string; cluster?: string }[];
      expect(items).not.to.have.length(0);
      expect(
        new Set(items.map(({ namespace, cluster }) => `${cluster}/${namespace}`)),
      ).to.deep.equal(new Set(['local/shop']));
      expect((await ask('GET /api/v1/tokens?namespace=shop&cluster=other')).status).to.equal(400);
    });

    it('makes others’ tokens look as if they were not there', async () => {
      const theirs = accessorOf(await exchange('opaque-other', 'other'));
      const unknown = '0aB1cD2eF3gH4iJ5kL6mN7oP';
      for (const verb of ['GET', 'DELETE']) {
        const known = await ask(`${verb} /api/v1/tokens/${theirs}?namespace=shop`);
        const none = await ask(`${verb} /api/v1/tokens/${unknown}?namespace=shop`);
        const { correlation_id: _a, ...first } = known.body;
        const { correlation_id: _b, ...second } = none.body;
        expect([known.status, none.status]).to.deep.equal([404, 404]);
        expect(first).to.deep.equal(second);
      }
      const still = await admin.call(`GET /api/v1/tokens/${theirs}`);
      expect(still.status).to.equal(200);
      const mine = accessorOf(await exchange('opaque-shop'));
      expect((await ask(`DELETE /api/v1/tokens/${mine}?namespace=shop`)).status).to.equal(200);
    });

    it('never shows or ends static tokens', async () => {
      const token = await admin.makeToken([]);
      const target = `/api/v1/tokens/${accessorOf(token)}?namespace=shop`;
      expect((await ask(`GET ${target}`)).status).to.equal(404);
      expect((await ask(`DELETE ${target}`)).status).to.equal(404);
    });

    it('ends in bulk what is of the namespace and nothing else, wherever it is named', async () => {
      const theirs = accessorOf(await exchange('opaque-other', 'other'));
      await exchange('opaque-shop');
      expect(
        (await ask('POST /api/v1/tokens/revoke', { audience: 'opaque-other' })).status,
      ).to.equal(403);
      expect((await ask('POST /api/v1/tokens/revoke', { namespace: 'other' })).status).to.equal(
        403,
      );
      const crossed = await ask('POST /api/v1/tokens/revoke?namespace=shop', {
        namespace: 'other',
      });
      expect(crossed.status).to.equal(400);
      const narrowed = await ask('POST /api/v1/tokens/revoke?namespace=shop', {
        audience: 'opaque-other',
      });
      expect(narrowed.body.revoked).to.equal(0);
      const own = await ask('POST /api/v1/tokens/revoke', { namespace: 'shop' });
      expect(own.status, own.text).to.equal(200);
      expect(own.body.revoked).to.be.greaterThan(0);
      expect((await admin.call(`GET /api/v1/tokens/${theirs}`)).status).to.equal(200);
    });

    it('makes no static token', async () => {
      const answer = await ask('POST /api/v1/tokens', {
        name: 'narrow',
        ttl: '1h',
        namespace: 'shop',
      });
      expect(answer.status).to.equal(403);
    });
  });

  it('keeps every token out of log and audit', async () => {
    const token = await admin.makeToken(['default']);
    expect(JSON.stringify(admin.broker.log)).not.to.include(token);
    expect(JSON.stringify(admin.broker.audit)).not.to.include(token);
    expect(admin.records().at(-1)).to.include({ action: 'createToken', token: accessorOf(token) });
  });
});

function hash(text: string): number {
  return [...text].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, 7);
}
