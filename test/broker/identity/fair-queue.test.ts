// The fair queue held against a plain list of who waits, through any mixture of coming, having a turn and leaving.
import { expect } from 'chai';
import fc from 'fast-check';
import { createFairQueue, type Turn } from '../../../broker/identity/fair-queue.ts';

interface Waiting {
  readonly turn: Turn;
}

const MAX = 6;
const turns = fc.record({
  group: fc.constantFrom('a', 'b', 'c', 'd'),
  member: fc.constantFrom('x', 'y'),
});
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: turns.map((turn) => ({ step: 'come', turn }) as const) },
    { weight: 2, arbitrary: fc.constant({ step: 'next' } as const) },
    { weight: 2, arbitrary: fc.nat(MAX).map((index) => ({ step: 'leave', index }) as const) },
  ),
  { maxLength: 60 },
);

const GROUPS = ['a', 'b', 'c', 'd'];

/** A queue, and beside it the list of who must be in it. */
function setUp() {
  const queue = createFairQueue<Waiting>(MAX);
  let list: readonly Waiting[] = [];
  const countOf = (group: string) => list.filter(({ turn }) => turn.group === group).length;
  const drop = (gone: Waiting) => {
    expect(list).to.include(gone);
    list = list.filter((one) => one !== gone);
  };

  /** Whose newest is to give way; undefined: nobody. */
  function findGiving(group: string): (one: string) => boolean {
    const longest = Math.max(...GROUPS.map(countOf));
    return longest > countOf(group) + 1
      ? (one) => countOf(one) === longest
      : (one) => one === group;
  }

  function come(turn: Turn): void {
    const comer = { turn };
    const isFull = list.length === MAX;
    const gives = findGiving(turn.group);
    const gone = queue.add(turn, comer);
    expect(gone !== undefined).to.equal(isFull);
    expect(!gone || gives(gone.turn.group)).to.equal(true);
    list = [...list, comer];
    if (gone) drop(gone);
  }

  function next(): void {
    const found = queue.next();
    expect(found === undefined).to.equal(list.length === 0);
    if (found) drop(found);
  }

  function leave(index: number): void {
    const gone = list[index];
    if (!gone) return;
    queue.remove(gone.turn, gone);
    drop(gone);
  }

  const check = () => {
    expect(queue.size).to.equal(list.length);
    expect(queue.groups).to.equal(new Set(list.map(({ turn }) => turn.group)).size);
    expect(GROUPS.map(queue.countOf)).to.deep.equal(GROUPS.map(countOf));
  };
  return { come, next, leave, check };
}

describe('the fair queue', () => {
  it('has somebody of the longest group give way, and nobody for one whose group is as long', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const { come, next, leave, check } = setUp();
        for (const one of all) {
          if (one.step === 'come') come(one.turn);
          else if (one.step === 'next') next();
          else leave(one.index);
          check();
        }
      }),
      { numRuns: 300 },
    );
  });
});
