import { expect } from 'chai';
import fc from 'fast-check';
import { planCertificates } from '../../../controller/certificates/plan.ts';
import {
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

/** Whoever took a bundle this long ago or later is promised to go on. */
const PROMISED_MS = POLICY.leafLifetimeMs + POLICY.publishMs;

type Event =
  | { do: 'wait'; ms: number }
  | { do: 'ask' }
  | { do: 'crash' }
  | { do: 'inject'; is: boolean }
  | { do: 'spoil'; key: string; text: string | undefined };

const waits = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 30 * HOUR_MS }) },
  { weight: 3, arbitrary: fc.integer({ min: DAY_MS, max: 40 * DAY_MS }) },
  { weight: 1, arbitrary: fc.integer({ min: YEAR_MS, max: 8 * YEAR_MS }) },
);
const events: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: waits.map((ms) => ({ do: 'wait' as const, ms })) },
  { weight: 3, arbitrary: fc.constant({ do: 'ask' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'crash' as const }) },
  { weight: 1, arbitrary: fc.boolean().map((is) => ({ do: 'inject' as const, is })) },
  {
    weight: 1,
    arbitrary: fc
      .record({
        // All that can be lost without breaking anybody: the authorities' own certificates and keys are not among it.
        key: fc.constantFrom('ca.crt', 'webhook.crt', 'webhook.key', 'broker.crt', 'broker.key'),
        text: fc.constantFrom(undefined, '', 'half a text', '-----BEGIN CERTIFICATE-----\nMII'),
      })
      .map((one) => ({ do: 'spoil' as const, ...one })),
  },
);

interface Client {
  readonly bundle: string;
  /** When it was last what the Secret held. */
  lastAt: number;
}

describe('planned certificates, whatever happens when', function () {
  this.timeout(30_000);

  it('are believed by whoever has any bundle of the last three months, and every server by those with the newest', () => {
    let promoted = 0;
    const run = (schedule: readonly Event[]) => {
      const world = createWorld();
      const clients: Client[] = [];
      let before = '';
      const look = () => {
        const plan = world.step();
        promoted += kindsOf(plan).filter((kind) => kind === 'authority_promoted').length;
        note(clients, plan.bundle, world.now);
        const served = world.data['broker.crt'] ?? '';
        for (const { bundle } of clients.filter(({ lastAt }) => world.now - lastAt <= PROMISED_MS))
          expect(verifies(bundle, served, world.now)).to.equal(true);
        // A server that has not read the newest yet, as long as its certificate is not over.
        if (isLive(before, world.now))
          expect(verifies(plan.bundle, before, world.now)).to.equal(true);
        before = served;
        expect(settles(world)).to.equal(true);
      };
      look();
      for (const event of schedule) {
        act(world, event);
        look();
      }
    };
    fc.assert(
      fc.property(fc.array(events, { minLength: 5, maxLength: 30 }), (schedule) => run(schedule)),
      { numRuns: 40 },
    );
    expect(promoted).to.be.greaterThan(20);
  });
});

function note(clients: Client[], bundle: string, now: number): void {
  const known = clients.find((one) => one.bundle === bundle);
  if (known) known.lastAt = now;
  else clients.push({ bundle, lastAt: now });
}

/** Soon nothing is left to do at the same moment, so that replicas cannot write in turns. */
function settles(world: World): boolean {
  return [1, 2, 3].some(() => !world.step().isChanged);
}

function isLive(chain: string, now: number): boolean {
  const [leaf] = splitPem(chain);
  return leaf !== undefined && now < leaf.validToDate.getTime();
}

function act(world: World, event: Event): void {
  if (event.do === 'wait') world.now += event.ms;
  if (event.do === 'ask') world.isAsked = true;
  if (event.do === 'inject') world.isInjected = event.is;
  if (event.do === 'spoil') world.data[event.key] = event.text;
  if (event.do === 'crash') {
    // Planned, and never written.
    const { now, isInjected, isAsked: isRotationAsked } = world;
    planCertificates(world.data, { now, isInjected, isRotationAsked }, world.policy);
  }
}
