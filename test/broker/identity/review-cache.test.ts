// What is remembered of good reviews: for how long, how much, and what makes it forgotten; never more than that.
import { expect } from 'chai';
import type { WorkloadIdentity } from '../../../broker/identity/identity.ts';
import { createReviewCache, RECENT_MS } from '../../../broker/identity/review-cache.ts';
import { createFakeClock } from '../../support/clock.ts';

const who = (pod: string | undefined, account = 'sa-1'): WorkloadIdentity => ({
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: account,
  ...(pod !== undefined && { pod: { name: pod, uid: pod } }),
});

function create() {
  const clock = createFakeClock();
  const cache = createReviewCache(clock);
  const accept = (key: string, identity: WorkloadIdentity, seconds = 10) =>
    cache.begin()({ key, identity, until: clock.now() + seconds * 1000 });
  return { clock, cache, accept };
}

describe('what is remembered of good reviews', () => {
  it('holds until its end and not at it', async () => {
    const { clock, cache, accept } = create();
    accept('a', who('p'));
    expect(cache.isAccepted('a')).to.equal(true);
    expect(cache.isAccepted('b')).to.equal(false);
    await clock.advance(9999);
    expect(cache.isAccepted('a')).to.equal(true);
    await clock.advance(1);
    expect(cache.isAccepted('a')).to.equal(false);
  });

  it('is nothing where it ends at once, but for the pod that was alive', () => {
    const { cache, accept } = create();
    accept('a', who('p'), 0);
    expect(cache.isAccepted('a')).to.equal(false);
    expect(cache.wasRecent(who('p'))).to.equal(true);
  });

  it('counts a pod as alive for a quarter of an hour, with its own account alone', async () => {
    const { clock, cache, accept } = create();
    accept('a', who('p'));
    await clock.advance(RECENT_MS);
    expect(cache.wasRecent(who('p'))).to.equal(true);
    expect(cache.wasRecent(who('p', 'sa-2'))).to.equal(false);
    expect(cache.wasRecent(who('q'))).to.equal(false);
    await clock.advance(1);
    expect(cache.wasRecent(who('p'))).to.equal(false);
  });

  it('knows no recency without a pod', () => {
    const { cache, accept } = create();
    accept('a', who(undefined));
    expect(cache.wasRecent(who(undefined))).to.equal(false);
    expect(cache.isAccepted('a')).to.equal(true);
  });

  const world = () => {
    const made = create();
    made.accept('p', who('p'));
    made.accept('q', who('q'));
    made.accept('r', who('r', 'sa-2'));
    made.accept('none', who(undefined, 'sa-3'));
    const left = () => ({
      accepted: ['p', 'q', 'r', 'none'].filter((key) => made.cache.isAccepted(key)),
      recent: [who('p'), who('q'), who('r', 'sa-2')]
        .filter((one) => made.cache.wasRecent(one))
        .map(({ pod }) => pod?.uid),
    });
    return { ...made, left };
  };

  it('is all there before anybody dies', () => {
    expect(world().left()).to.deep.equal({
      accepted: ['p', 'q', 'r', 'none'],
      recent: ['p', 'q', 'r'],
    });
  });

  it('forgets a dead pod and no other', () => {
    const { cache, left } = world();
    cache.evict({ podUid: 'p' });
    expect(left()).to.deep.equal({ accepted: ['q', 'r', 'none'], recent: ['q', 'r'] });
  });

  it('forgets every pod of a dead account and no other', () => {
    const { cache, left } = world();
    cache.evict({ serviceAccountUid: 'sa-1' });
    expect(left()).to.deep.equal({ accepted: ['r', 'none'], recent: ['r'] });
  });

  it('forgets nobody where nobody is named', () => {
    const { cache, left } = world();
    cache.evict({});
    expect(left().accepted).to.deep.equal(['p', 'q', 'r', 'none']);
  });

  it('forgets all by a change of settings', () => {
    const { cache, left } = world();
    cache.clear();
    expect(left()).to.deep.equal({ accepted: [], recent: [] });
  });

  it('forgets that a pod was alive, and what was accepted stays', () => {
    const { cache, left } = world();
    cache.forgetPod(who('p'));
    cache.forgetPod(who(undefined));
    expect(left()).to.deep.equal({ accepted: ['p', 'q', 'r', 'none'], recent: ['q', 'r'] });
  });

  it('takes no answer from before a death, nor from before a second one', () => {
    for (const deaths of [1, 2]) {
      const { clock, cache } = create();
      const store = cache.begin();
      for (let i = 0; i < deaths; i++) cache.evict({ podUid: 'other' });
      store({ key: 'a', identity: who('p'), until: clock.now() + 1000 });
      expect(cache.isAccepted('a')).to.equal(false);
      expect(cache.wasRecent(who('p'))).to.equal(false);
    }
  });

  it('keeps 10,000 tokens; the one not asked for longest makes room', () => {
    const { cache, accept } = create();
    for (let i = 0; i < 10_000; i++) accept(`${i}`, who(undefined));
    expect(cache.isAccepted('0')).to.equal(true);
    accept('one more', who(undefined));
    expect(cache.isAccepted('1')).to.equal(false);
    expect(['0', '2', '9999', 'one more'].map((key) => cache.isAccepted(key))).to.deep.equal([
      true,
      true,
      true,
      true,
    ]);
  });
});
