import { expect } from 'chai';
import { toFormersText } from '../../../controller/certificates/kept.ts';
import {
  connects,
  createWorld,
  DAY_MS,
  HOUR_MS,
  kindsOf,
  POLICY,
  splitPem,
  verifies,
  type World,
  YEAR_MS,
} from './world.ts';

/** Lets time go by as a controller sees it. */
function goOn(world: World, ms: number, everyMs = 6 * HOUR_MS): readonly string[] {
  const kinds: string[] = [];
  for (const until = world.now + ms; world.now < until; ) {
    world.now = Math.min(world.now + everyMs, until);
    kinds.push(...kindsOf(world.step()));
  }
  return kinds;
}

const findLeaf = ({ data }: World, part: string) => splitPem(data[`${part}.crt`])[0];

describe('planned certificates', function () {
  this.timeout(30_000);

  it('are an authority for ten years and two leaves for ninety days, the first time', () => {
    const world = createWorld();
    const plan = world.step();
    expect(kindsOf(plan)).to.eql([
      'authority_created:first',
      'leaf_signed:absent',
      'leaf_signed:absent',
    ]);
    expect(plan.ends).to.eql({
      ca: world.now + POLICY.caLifetimeMs,
      webhook: world.now + POLICY.leafLifetimeMs,
      broker: world.now + POLICY.leafLifetimeMs,
    });
    expect(findLeaf(world, 'webhook')?.subjectAltName).to.equal('DNS:c-webhook.auth.svc');
    expect(findLeaf(world, 'broker')?.checkHost('c-broker.auth')).to.equal('c-broker.auth');
    expect(verifies(plan.bundle, world.data['broker.crt'] ?? '', world.now)).to.equal(true);
    expect(splitPem(plan.bundle)[0]?.keyUsage).to.equal(undefined);
  });

  it('stay as they are while nothing is due, down to the byte', () => {
    const world = createWorld();
    world.step();
    world.now += 50 * DAY_MS;
    const plan = world.step();
    expect(plan.isChanged).to.equal(false);
    expect(plan.notes).to.eql([]);
  });

  it('have leaves signed anew between 60 and 67 % of their life, each in its own time', () => {
    const world = createWorld();
    world.step();
    const from = world.now;
    const times: number[] = [];
    while (times.length < 2) {
      world.now += 12 * HOUR_MS;
      times.push(...kindsOf(world.step()).map(() => (world.now - from) / POLICY.leafLifetimeMs));
    }
    for (const share of times) expect(share).to.be.within(0.6, 2 / 3 + 0.006);
    expect(goOn(world, YEAR_MS, 4 * DAY_MS)).to.satisfy((kinds: string[]) =>
      kinds.every((kind) => kind === 'leaf_signed:age'),
    );
  });

  it('have a next authority at two thirds of life, which signs a day later and leaves the old one trusted', () => {
    const world = createWorld();
    world.step();
    const first = world.data['ca-current.crt'];
    world.now += (POLICY.caLifetimeMs * 2) / 3;
    expect(kindsOf(world.step())).to.include('authority_next:age');
    expect(splitPem(world.data['ca.crt'])).to.have.length(2);
    expect(goOn(world, DAY_MS - 1)).not.to.include('authority_promoted');
    expect(findLeaf(world, 'broker')?.checkIssued(splitPem(first)[0] as never)).to.equal(true);
    expect(goOn(world, HOUR_MS)).to.eql([
      'authority_promoted',
      'leaf_signed:authority',
      'leaf_signed:authority',
    ]);
    expect(splitPem(world.data['ca.crt'])).to.have.length(2);
    expect(verifies(first ?? '', world.data['webhook.crt'] ?? '', world.now)).to.equal(true);
    goOn(world, POLICY.leafLifetimeMs + 2 * DAY_MS, DAY_MS);
    expect(splitPem(world.data['ca.crt'])).to.have.length(1);
    // Whoever knows the old one alone still verifies.
    expect(verifies(first ?? '', world.data['webhook.crt'] ?? '', world.now)).to.equal(true);
    expect(world.data['ca-next.crt']).to.equal(undefined);
  });

  it('do not let a next authority sign while the API server does not have it, until it must', () => {
    const world = createWorld();
    world.step();
    world.now += (POLICY.caLifetimeMs * 2) / 3;
    world.isInjected = false;
    world.step();
    expect(goOn(world, 90 * DAY_MS, DAY_MS)).not.to.include('authority_promoted');
    world.isInjected = true;
    expect(kindsOf(world.step())).to.include('authority_promoted');
    const stuck = createWorld();
    stuck.isInjected = false;
    stuck.step();
    const kinds = goOn(stuck, 9.9 * YEAR_MS, 20 * DAY_MS);
    expect(kinds.filter((kind) => kind === 'authority_promoted')).to.have.length(1);
  });

  it('are made anew on request once for each, one after the other, and no more than four in the time of a leaf', () => {
    const world = createWorld();
    const bundles = [world.step().bundle];
    let promoted = 0;
    for (let day = 0; day < 30; day += 1) {
      world.isAsked = true;
      promoted += goOn(world, DAY_MS).filter((kind) => kind === 'authority_promoted').length;
      bundles.push(world.data['ca.crt'] ?? '');
      for (const bundle of bundles)
        expect(verifies(bundle, world.data['broker.crt'] ?? '', world.now)).to.equal(true);
    }
    expect(promoted).to.equal(4);
    expect(world.isAsked).to.equal(true);
    expect(splitPem(world.data['ca.crt']).length).to.be.at.most(6);
  });

  it('are believed by OpenSSL over a connection, also by a client that knows one of four former authorities alone', async () => {
    const world = createWorld();
    // OpenSSL's time is the real one.
    world.now = Date.now() - 20 * DAY_MS;
    world.step();
    const alone = [world.data['ca-current.crt'] ?? ''];
    while (alone.length < 5) {
      world.isAsked = true;
      goOn(world, 3 * DAY_MS);
      alone.push(world.data['ca-current.crt'] ?? '');
    }
    const served = { chain: world.data['broker.crt'] ?? '', key: world.data['broker.key'] ?? '' };
    for (const bundle of [...alone, world.data['ca.crt'] ?? ''])
      expect(await connects(bundle, { ...served, name: 'c-broker.auth.svc' })).to.equal(true);
    const stranger = createWorld();
    stranger.now = world.now;
    stranger.step();
    const other = stranger.data['ca.crt'] ?? '';
    expect(await connects(other, { ...served, name: 'c-broker.auth.svc' })).to.equal(false);
    expect(await connects(alone[0] ?? '', { ...served, name: 'other.auth.svc' })).to.equal(false);
  });

  it('have leaves signed anew where names or the wanted life change', () => {
    const world = createWorld();
    world.step();
    const [webhook, broker] = POLICY.leaves;
    if (!webhook || !broker) throw new Error('no leaves');
    world.policy = { ...POLICY, leaves: [webhook, { ...broker, names: ['tokens.example.org'] }] };
    expect(kindsOf(world.step())).to.eql(['leaf_signed:names']);
    expect(findLeaf(world, 'broker')?.subjectAltName).to.equal('DNS:tokens.example.org');
    world.policy = { ...world.policy, leafLifetimeMs: 30 * DAY_MS };
    expect(kindsOf(world.step())).to.eql(['leaf_signed:lifetime', 'leaf_signed:lifetime']);
    world.policy = { ...world.policy, leafLifetimeMs: 60 * DAY_MS };
    expect(kindsOf(world.step())).to.eql([]);
  });

  for (const names of [
    ['2001:db8::1', '10.0.0.7'],
    ['FD00::7'],
    ['::2:3:4:5:6:7:8'],
    ['A.example', 'a.example'],
  ]) {
    it(`are signed once and no more where the names are ${names.join(' and ')}`, () => {
      const world = createWorld({ ...POLICY, leaves: [{ part: 'broker', names }] });
      world.step();
      world.now += HOUR_MS;
      expect(kindsOf(world.step())).to.eql([]);
    });
  }

  it('have leaves signed anew that a clock ahead of time had signed, and none by a clock behind the authority', () => {
    const world = createWorld();
    world.step();
    const { now } = world;
    world.now = now + 60 * DAY_MS;
    expect(kindsOf(world.step())).to.eql(['leaf_signed:age', 'leaf_signed:age']);
    world.now = Date.parse('1970-01-02T00:00:00Z');
    expect(kindsOf(world.step())).to.eql([]);
    world.now = now + HOUR_MS;
    expect(kindsOf(world.step())).to.eql(['leaf_signed:early', 'leaf_signed:early']);
    const { 'ca.crt': bundle = '', 'broker.crt': chain = '' } = world.data;
    expect(verifies(bundle, chain, world.now)).to.equal(true);
  });

  describe('of a Secret that somebody wrote to', () => {
    const spoil = (changes: Record<string, string | undefined>) => {
      const world = createWorld();
      world.step();
      world.now += HOUR_MS;
      const before = { ...world.data };
      Object.assign(world.data, changes);
      return { world, before, kinds: kindsOf(world.step()) };
    };
    const foreign = createWorld();
    foreign.step();

    for (const [what, changes] of [
      ['the bundle is gone', { 'ca.crt': undefined }],
      ['the bundle has one more authority', { 'ca.crt': foreign.data['ca.crt'] }],
      ['the former ones are no JSON', { 'ca-former.json': '[{' }],
    ] as const) {
      it(`are as they were, where ${what}`, () => {
        const { world, before } = spoil(changes);
        expect(world.data).to.eql(before);
      });
    }

    for (const [what, changes, reason] of [
      ['its key is gone', { 'webhook.key': undefined }, 'broken'],
      ['its key is another one’s', { 'webhook.key': foreign.data['webhook.key'] }, 'broken'],
      ['it is half of a text', { 'webhook.crt': '-----BEGIN CERTIFICATE-----\nMIIB' }, 'absent'],
      [
        'another authority signed it',
        { 'webhook.crt': foreign.data['webhook.crt'], 'webhook.key': foreign.data['webhook.key'] },
        'authority',
      ],
    ] as const) {
      it(`have one leaf signed anew, where ${what}`, () => {
        const { world, before, kinds } = spoil(changes);
        expect(kinds.filter((kind) => kind !== 'mended')).to.eql([`leaf_signed:${reason}`]);
        expect(world.data['ca.crt']).to.equal(before['ca.crt']);
        expect(world.data['broker.crt']).to.equal(before['broker.crt']);
        expect(
          verifies(before['ca.crt'] ?? '', world.data['webhook.crt'] ?? '', world.now),
        ).to.equal(true);
      });
    }

    it('go on with the leaves they have where the authority’s key is lost, and publish a next one', () => {
      const { world, before, kinds } = spoil({ 'ca-current.key': undefined });
      expect(kinds).to.include('authority_next:key_lost').and.not.include('authority_promoted');
      expect(world.data['broker.crt']).to.equal(before['broker.crt']);
      expect(splitPem(world.data['ca.crt'])).to.have.length(2);
      const published = world.data['ca.crt'] ?? '';
      expect(goOn(world, DAY_MS)).to.include('authority_promoted');
      expect(verifies(published, world.data['broker.crt'] ?? '', world.now)).to.equal(true);
      // Nobody can vouch for it to those who know the lost one alone.
      expect(verifies(before['ca.crt'] ?? '', world.data['broker.crt'] ?? '', world.now)).to.equal(
        false,
      );
      expect(splitPem(world.data['ca.crt'])).to.have.length(2);
    });

    it('do not wait where the authority’s key is lost and a leaf is, too', () => {
      const { world, kinds } = spoil({ 'ca-current.key': 'x', 'broker.crt': '' });
      expect(kinds).to.include('authority_promoted');
      expect(
        verifies(world.data['ca.crt'] ?? '', world.data['broker.crt'] ?? '', world.now),
      ).to.equal(true);
    });

    it('are of a new authority at once where the authority is lost, and say so', () => {
      const { world, kinds } = spoil({ 'ca-current.crt': 'x', 'ca-current.key': 'x' });
      expect(kinds).to.include.members([
        'authority_created:lost',
        'leaf_signed:authority',
        'mended',
      ]);
      expect(
        verifies(world.data['ca.crt'] ?? '', world.data['broker.crt'] ?? '', world.now),
      ).to.equal(true);
    });

    it('are of a new authority, too, where somebody took all of the one that had leaked', () => {
      const { world, before, kinds } = spoil({
        'ca.crt': undefined,
        'ca-former.json': undefined,
        'ca-current.crt': undefined,
        'ca-current.key': undefined,
      });
      expect(kinds).to.include.members(['authority_created:lost', 'leaf_signed:authority']);
      const chain = world.data['broker.crt'] ?? '';
      expect(verifies(world.data['ca.crt'] ?? '', chain, world.now)).to.equal(true);
      expect(verifies(before['ca.crt'] ?? '', chain, world.now)).to.equal(false);
      expect(splitPem(world.data['ca.crt'])).to.have.length(1);
    });

    it('take the next authority where the current one is lost', () => {
      const world = createWorld();
      world.step();
      world.isAsked = true;
      const { bundle } = world.step();
      world.data['ca-current.crt'] = undefined;
      expect(kindsOf(world.step())).to.include('authority_promoted');
      expect(verifies(bundle, world.data['broker.crt'] ?? '', world.now)).to.equal(true);
    });

    it('believe no cross certificate that the former authority did not sign', () => {
      const world = createWorld();
      world.step();
      world.isAsked = true;
      goOn(world, 2 * DAY_MS);
      expect(splitPem(world.data['broker.crt'])).to.have.length(2);
      const [former] = JSON.parse(world.data['ca-former.json'] ?? '') as {
        certificate: string;
        until: string;
      }[];
      if (!former) throw new Error('no former authority');
      const [certificate] = splitPem(former.certificate);
      if (!certificate) throw new Error('no certificate');
      const cross = foreign.data['ca-current.crt'];
      const until = Date.parse(former.until);
      world.data['ca-former.json'] = toFormersText([
        { pem: former.certificate, certificate, until, cross },
      ]);
      world.step();
      expect(splitPem(world.data['broker.crt'])).to.have.length(1);
    });
  });
});
