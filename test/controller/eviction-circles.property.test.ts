// Whatever happens around it: an owner whose new pods are no better loses two pods, and no more for ever.
import { expect } from 'chai';
import fc from 'fast-check';
import { createEvictionPlan, MAX_FRUITLESS } from '../../controller/eviction-plan.ts';
import type { TrackedPod } from '../../controller/pods.ts';
import { AWAY_MS } from '../../controller/webhook-evidence.ts';
import { toInjected, toMissed, toPlain } from './tracked-pods.ts';

/** What becomes of the pod that is evicted next, and how long it takes; or that another owner's pod is injected. */
const STEP = fc.record({
  kind: fc.constantFrom('missed', 'missed', 'plain', 'nothing', 'held', 'works', 'works'),
  ms: fc.oneof(fc.constant(1000), fc.integer({ min: 1, max: 8 * AWAY_MS })),
});

function createWorld() {
  const plan = createEvictionPlan({ isCovered: () => true, onOutcome: () => undefined });
  const missed = new Map<string, TrackedPod>();
  const lost = new Map<string, number>([
    ['a', 0],
    ['b', 0],
  ]);
  let now = 0;
  let made = 0;
  const store = (pod: TrackedPod, isMissed: boolean) => {
    plan.apply({ after: pod }, now);
    if (isMissed) missed.set(pod.uid, pod);
  };
  for (const owner of lost.keys())
    for (let i = 0; i < 4; i++) store(toMissed(`${owner}-${made++}`), true);

  function lose(pod: TrackedPod, kind: string): void {
    const [owner = ''] = pod.name.split('-');
    lost.set(owner, (lost.get(owner) ?? 0) + 1);
    missed.delete(pod.uid);
    plan.apply({ before: pod }, now);
    const name = `${owner}-${made++}`;
    if (kind === 'missed') store(toMissed(name), true);
    if (kind === 'plain') store(toPlain(name), false);
  }
  return {
    lost,
    live: ({ kind, ms }: { kind: string; ms: number }) => {
      now += ms;
      if (kind === 'works') return store(toInjected(`other-${made++}`), false);
      const pod = plan.next(missed, now);
      if (!pod) return undefined;
      return kind === 'held' ? plan.holdBack(pod, now) : lose(pod, kind);
    },
  };
}

describe('evictions', () => {
  it('never go round in circles', () => {
    let most = 0;
    fc.assert(
      fc.property(fc.array(STEP, { minLength: 20, maxLength: 120 }), (steps) => {
        const world = createWorld();
        for (const step of steps) world.live(step);
        for (const [owner, count] of world.lost) {
          expect(count, owner).to.be.at.most(MAX_FRUITLESS);
          most = Math.max(most, count);
        }
      }),
      { numRuns: 300, seed: 1 },
    );
    // The worlds do come that far.
    expect(most).to.equal(MAX_FRUITLESS);
  });
});
