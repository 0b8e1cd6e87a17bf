// What a caller may: by policies, or by RBAC of the own cluster, with short memory and none for failures.
import { expect } from 'chai';
import {
  CAPABILITY_CACHE_MS,
  type CapableCaller,
  createCapabilities,
} from '../../broker/capabilities.ts';
import { BrokerError } from '../../broker/errors.ts';
import type { AccessAttributes, AccessUser } from '../../common/kube/access.ts';
import { KubeError } from '../../common/kube/error.ts';
import { createFakeClock } from '../support/clock.ts';

const workload = (cluster: string): CapableCaller => ({
  via: 'workload',
  policies: [],
  identity: {
    kind: 'workload',
    cluster,
    namespace: 'ops',
    serviceAccount: 'admin',
    serviceAccountUid: 'uid-1',
  },
});

function setUp(decide: (user: AccessUser, attributes: AccessAttributes) => boolean = () => true) {
  const asked: AccessAttributes[] = [];
  const clock = createFakeClock();
  const capabilities = createCapabilities({
    ownCluster: 'local',
    clock,
    reviews: {
      can: async (user, attributes) => {
        asked.push(attributes);
        return { allowed: decide(user, attributes), reason: '' };
      },
    },
  });
  return { asked, clock, capabilities };
}

describe('capabilities', () => {
  it('ask RBAC for ServiceAccounts of the own cluster, and never for equal names of another', async () => {
    const { capabilities, asked } = setUp();
    expect(await capabilities.can(workload('local'), 'list', 'roles')).to.equal(true);
    expect(await capabilities.can(workload('staging'), 'list', 'roles')).to.equal(false);
    expect(asked).to.have.length(1);
  });

  it('count policies of tokens alone, never RBAC for them', async () => {
    const { capabilities, asked } = setUp();
    const token: CapableCaller = { ...workload('local'), via: 'token', policies: [] };
    expect(await capabilities.can(token, 'list', 'roles')).to.equal(false);
    const able = { ...token, policies: ['coatcheck:roles:read'] };
    expect(await capabilities.can(able, 'list', 'roles')).to.equal(true);
    expect(asked).to.have.length(0);
  });

  it('give a workload nothing for policies that stand in no token of ours', async () => {
    const { capabilities } = setUp(() => false);
    const caller = { ...workload('local'), policies: ['root'] };
    expect(await capabilities.can(caller, 'list', 'roles')).to.equal(false);
  });

  it('are asked again after ten seconds, so that a right that was taken away ends', async () => {
    let isAllowed = true;
    const { capabilities, clock } = setUp(() => isAllowed);
    const can = () => capabilities.can(workload('local'), 'delete', 'tokens');
    expect(await can()).to.equal(true);
    isAllowed = false;
    await clock.advance(CAPABILITY_CACHE_MS - 1);
    expect(await can()).to.equal(true);
    await clock.advance(1);
    expect(await can()).to.equal(false);
  });

  it('tell namespaces, verbs and resources apart in what they remember', async () => {
    const { capabilities, asked } = setUp((_user, { namespace }) => namespace === 'shop');
    const can = (namespace?: string) =>
      capabilities.can(
        workload('local'),
        'list',
        'tokens',
        namespace === undefined ? {} : { namespace },
      );
    expect([await can('shop'), await can('other'), await can()]).to.deep.equal([
      true,
      false,
      false,
    ]);
    await capabilities.can(workload('local'), 'get', 'tokens', { namespace: 'shop' });
    await capabilities.can(workload('local'), 'list', 'decisions', { namespace: 'shop' });
    expect(asked).to.have.length(5);
  });

  it('remember no failure', async () => {
    let isAway = true;
    const { capabilities } = setUp(() => {
      if (isAway) throw new KubeError('unavailable', 'away');
      return true;
    });
    const can = () => capabilities.can(workload('local'), 'list', 'roles');
    const failure = await can().catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(BrokerError).with.property('reason', 'kube_unavailable');
    isAway = false;
    expect(await can()).to.equal(true);
  });

  it('are none where there is no API server to ask', async () => {
    const capabilities = createCapabilities({ ownCluster: 'local', clock: createFakeClock() });
    expect(await capabilities.can(workload('local'), 'list', 'roles')).to.equal(false);
  });

  it('ask a few questions at a time, let a bounded number wait, and refuse the rest', async () => {
    let asking = 0;
    let most = 0;
    const { promise: answered, resolve } = Promise.withResolvers<void>();
    const capabilities = createCapabilities({
      ownCluster: 'local',
      clock: createFakeClock(),
      reviews: {
        can: async () => {
          asking += 1;
          most = Math.max(most, asking);
          await answered;
          asking -= 1;
          return { allowed: true, reason: '' };
        },
      },
    });
    const flood = Array.from({ length: 400 }, (_, i) =>
      capabilities
        .can(workload('local'), 'list', 'tokens', { namespace: `n${i}` })
        .catch((error: unknown) => (error as BrokerError).reason),
    );
    const refused = await Promise.all(flood.slice(-100));
    expect(new Set(refused)).to.deep.equal(new Set(['too_many_requests']));
    resolve();
    const all = await Promise.all(flood);
    expect([most, all.filter((one) => one === true).length]).to.deep.equal([8, 264]);
    // What was refused is asked anew.
    expect(
      await capabilities.can(workload('local'), 'list', 'tokens', { namespace: 'n399' }),
    ).to.equal(true);
  });
});
