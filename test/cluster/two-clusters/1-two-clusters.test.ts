// Two clusters on one broker: two real API servers with the same issuer and equal names in them, a controller for each.
import { expect } from 'chai';
import { openCluster } from '../harness/cluster.ts';
import { sendOrder, toControlSocket } from '../harness/control.ts';
import { waitFor } from '../harness/process.ts';
import type { Member, Pod } from './member.ts';
import { setTwoClusters, type TwoClusters } from './stage.ts';

const AUDIENCE_OF = { a: 'payments', b: 'ledger' } as const;

describe('two clusters on one broker', function () {
  this.timeout(60_000);
  let stage: TwoClusters;
  let a: Member;
  let b: Member;
  let underOldKey: string;
  const pods = new Map<Member, Pod>();
  /** A new token of the member's pod `app`. */
  const requestToken = (member: Member, audience: string) =>
    member.requestToken(pods.get(member) as Pod, audience);
  const exchange = async (member: Member, audience: string) =>
    stage.exchange(await requestToken(member, audience), audience);
  const report = (by: string, about: Member, body: object, method = 'PATCH') =>
    stage.send({ method, path: `/api/v1/clusters/${about.name}/live`, bearer: by, body });
  const push = async (by: string, about: Member, of: Member = about) =>
    stage.send({
      method: 'PUT',
      path: `/api/v1/clusters/${about.name}/keys`,
      bearer: by,
      body: await of.readKeys(),
    });
  const order = (what: 'rotateSigningKey' | 'dropOldSigningKeys') =>
    sendOrder(what, toControlSocket(b.cluster.facts.workFolder));

  before(async function () {
    if (!openCluster().facts.isOurs) {
      console.log(
        '\n!!! SKIPPED two clusters: the harness starts no second one beside a foreign one\n',
      );
      return this.skip();
    }
    stage = await setTwoClusters();
    ({ a, b } = stage);
    for (const member of [a, b]) pods.set(member, await member.createPod('app'));
    await stage.startController(a);
    return undefined;
  });
  after(() => stage?.clear());

  it('knows nobody of a cluster that is not registered, whatever issuer its tokens state', async () => {
    const { status, body } = await exchange(b, 'ledger');
    expect({ status, reason: body.reason }).to.eql({ status: 400, reason: 'token_signature' });
    expect(await exchange(a, 'payments')).to.include({ status: 200 });
  });

  it('knows it as soon as its first keys are registered, without a restart', async () => {
    expect(await stage.registerB())
      .to.have.property('status')
      .within(200, 201);
    expect(await exchange(b, 'ledger')).to.include({ status: 200 });
  });

  it('keeps equal names apart: each caller is of the cluster whose key signed', async () => {
    const subjects = [];
    for (const member of [a, b]) {
      const { body } = await exchange(member, AUDIENCE_OF[member.name as 'a']);
      const payload = String(body.access_token).split('.')[1] ?? '';
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string };
      subjects.push(claims.sub);
    }
    const { namespace } = stage.names;
    expect(subjects).to.eql([`k8s:a:${namespace}:checkout`, `k8s:b:${namespace}:checkout`]);
  });

  it('gives nobody what a role gives the one of the same name in the other cluster', async () => {
    for (const [member, audience] of [
      [a, 'ledger'],
      [b, 'payments'],
    ] as const) {
      const { status, body } = await exchange(member, audience);
      expect({ status, reason: body.reason }).to.eql({ status: 400, reason: 'no_role' });
    }
  });

  it('lets a controller speak of its own cluster, and of no other', async () => {
    const [ofA, ofB] = [
      await a.requestControl('coatcheck-controller'),
      await b.requestControl('coatcheck-controller'),
    ];
    const at = new Date().toISOString();
    const dead = [a, b].map((one) => ({ kind: 'Pod', uid: pods.get(one)?.uid, at }));
    const live = { takenAt: at, pods: ['nobody'], serviceAccounts: ['nobody'] };
    for (const [by, about] of [
      [ofA, b],
      [ofB, a],
    ] as const) {
      const answers = [
        await report(by, about, { dead }),
        await report(by, about, live, 'PUT'),
        await push(by, about),
      ];
      for (const answer of answers) {
        expect(answer).to.have.property('status', 403);
        expect(answer.body).to.include({ reason: 'bearer_forbidden' });
      }
    }
    // Nobody died of it; and the near misses.
    for (const member of [a, b])
      expect(await exchange(member, AUDIENCE_OF[member.name as 'a'])).to.include({ status: 200 });
    expect(await push(ofB, b)).to.deep.include({
      status: 200,
      body: { cluster: 'b', keys: 1, changed: false },
    });
    const nobody = [{ kind: 'Pod', uid: 'nobody', at }];
    expect(await report(ofA, a, { dead: nobody })).to.include({ status: 200 });
  });

  it("takes no key of another cluster, nor any that its own cluster's controller brings", async () => {
    const ofB = await b.requestControl('coatcheck-controller');
    const stolen = await push(ofB, b, a);
    expect(stolen).to.have.property('status', 409);
    expect(stolen.body).to.include({ reason: 'key_conflict' });
    const own = await push(await a.requestControl('coatcheck-controller'), a);
    expect(own).to.have.property('status', 409);
    for (const member of [a, b])
      expect(await exchange(member, AUDIENCE_OF[member.name as 'a'])).to.include({ status: 200 });
  });

  it('ends the tokens of a pod that is gone, and not those of its namesake', async () => {
    await stage.startController(b, { 'push-keys': 'true', 'keys-seconds': '600' });
    const first = async (member: Member) => {
      const subject = await requestToken(member, AUDIENCE_OF[member.name as 'a']);
      const { body } = await stage.exchange(subject, AUDIENCE_OF[member.name as 'a']);
      return { subject, client: String(body.access_token) };
    };
    const [ofA, ofB] = [await first(a), await first(b)];
    expect([await stage.isActive(ofA.client), await stage.isActive(ofB.client)]).to.eql([
      true,
      true,
    ]);
    await waitFor(async () => (await b.readMetric('live_sets_total')) > 0, { what: 'a first set' });
    await b.deletePod('app');
    const isOver = async () => !(await stage.isActive(ofB.client));
    await waitFor(isOver, { what: 'the death of the pod of b', withinMs: 5000, everyMs: 20 });
    const refused = await stage.exchange(ofB.subject, 'ledger');
    expect(refused).to.have.property('status', 400);
    expect(refused.body).to.include({ reason: 'token_refused' });
    expect(await stage.isActive(ofA.client)).to.equal(true);
    expect(await stage.exchange(ofA.subject, 'payments')).to.include({ status: 200 });
    pods.set(b, await b.createPod('app'));
    expect(await exchange(b, 'ledger')).to.include({ status: 200 });
  });

  it('knows a new key that signs at once: its controller says it by the token it had before', async () => {
    underOldKey = await requestToken(b, 'ledger');
    await order('rotateSigningKey');
    await b.renewTokens();
    const under = await requestToken(b, 'ledger');
    // The next report is not believed, and so the controller looks.
    await b.createPod('short');
    await b.deletePod('short');
    const isKnown = async () => (await stage.exchange(under, 'ledger')).status === 200;
    await waitFor(isKnown, { what: 'the new key at the broker', withinMs: 20_000 });
    const log = b.readLog();
    // On a slow machine the Lease may run out meanwhile, and a new term begin before the file was replaced.
    if (log.split('this controller acts from now on').length === 2)
      expect(log).to.include('by an earlier token of ours');
    expect(await stage.exchange(underOldKey, 'ledger')).to.include({ status: 200 });
    expect(await exchange(a, 'payments')).to.include({ status: 200 });
  });

  it('forgets a key that is published no more', async () => {
    const underNewKey = await requestToken(b, 'ledger');
    await b.stopController();
    await order('dropOldSigningKeys');
    await stage.startController(b, { 'push-keys': 'true', 'keys-seconds': '1' });
    const isPushed = async () => (await b.readMetric('keys_pushed_timestamp_seconds')) > 0;
    await waitFor(isPushed, { what: 'the push', withinMs: 10_000 });
    const { status, body } = await stage.exchange(underOldKey, 'ledger');
    expect({ status, reason: body.reason }).to.eql({ status: 400, reason: 'token_signature' });
    expect(await stage.exchange(underNewKey, 'ledger')).to.include({ status: 200 });
  });

  it('still knows what was pushed after its own restart', async () => {
    await b.stopController();
    await stage.restartBroker();
    expect(await exchange(b, 'ledger')).to.include({ status: 200 });
    expect(await exchange(a, 'payments')).to.include({ status: 200 });
  });

  it('forgets a cluster that is taken out, and takes it back, by the API', async () => {
    expect(await stage.admin('DELETE', '/clusters/b')).to.have.property('status', 200);
    const { status, body } = await exchange(b, 'ledger');
    expect({ status, reason: body.reason }).to.eql({ status: 400, reason: 'token_signature' });
    await stage.registerBByCommand();
    expect(await exchange(b, 'ledger')).to.include({ status: 200 });
    await stage.startController(b, { 'push-keys': 'true' });
    const isPushed = async () => (await b.readMetric('keys_pushed_timestamp_seconds')) > 0;
    await waitFor(isPushed, { what: 'its controller to be heard again', withinMs: 20_000 });
    // The own cluster is the file's.
    expect(await stage.admin('DELETE', '/clusters/a'))
      .to.have.property('status')
      .within(400, 409);
  });
});
