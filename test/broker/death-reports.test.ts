// What reports of deaths do with a store that answers, and with one that is away: nobody is left out of it who could have
// been written, and what waits is bounded.
import { expect } from 'chai';
import { createDeathReports, DEATHS_PER_SECOND } from '../../broker/death-reports.ts';
import { BrokerError } from '../../broker/errors.ts';
import { createLiveness } from '../../broker/identity/liveness.ts';
import { type StoredDeath, StoreError } from '../../broker/store/store.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock } from '../support/clock.ts';

const MAX_UNSAVED = 100;
const MANY = MAX_UNSAVED + 10;

function setUp() {
  const clock = createFakeClock();
  const state = { isAway: false };
  const written: StoredDeath[] = [];
  const refuse = () => Promise.reject(new StoreError('unavailable', 'it is away'));
  const reports = createDeathReports({
    liveness: createLiveness({ clock, keepSeconds: 86_400 }),
    store: {
      deaths: {
        add: async (deaths) => {
          if (state.isAway) return refuse();
          for (const death of deaths) written.push(death);
          return [];
        },
        list: () => Promise.resolve([]),
        findMany: () => Promise.resolve([]),
      },
      tokens: { revokeWhere: refuse } as never,
      onChange: () => undefined,
    },
    evict: () => undefined,
    findClusters: () => ['edge'],
    keepSeconds: 86_400,
    alarmSeconds: 600,
    maxUnsaved: MAX_UNSAVED,
    metrics: { countDeaths: () => undefined },
    clock,
    log: createLogger({ level: 'error', process: 't', stream: { write: () => undefined } }),
  });
  const toDead = (count: number, first = 0) =>
    Array.from({ length: count }, (_, i) => ({
      kind: 'Pod' as const,
      uid: `pod-${first + i}`,
      diedAt: clock.now(),
    }));
  return { clock, reports, state, written, toDead };
}

describe('reports of deaths', () => {
  it('are all written where more die at once than may wait for a store', async () => {
    const { reports, written, toDead } = setUp();
    await reports.reportDead('edge', toDead(MANY));
    expect(written).to.have.length(MANY);
  });

  it('wait for a store that is away, the latest of them, no more than may', async () => {
    const { reports, state, written, toDead } = setUp();
    state.isAway = true;
    const failure = await reports.reportDead('edge', toDead(MANY)).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(StoreError);
    state.isAway = false;
    await reports.reportDead('edge', [{ kind: 'Pod', uid: 'last', diedAt: 0 }]);
    expect(written).to.have.length(MAX_UNSAVED + 1);
    expect([written[0]?.uid, written.at(-1)?.uid]).to.deep.equal(['pod-10', 'last']);
  });

  it('are taken of a whole large cluster at once, and then at a pace, so that no cluster fills the store', async () => {
    const { clock, reports, written, toDead } = setUp();
    await reports.reportDead('edge', toDead(250_000));
    const more = toDead(DEATHS_PER_SECOND, 300_000);
    const refusal = await reports.reportDead('edge', more).catch((error: unknown) => error);
    expect(refusal).to.be.instanceOf(BrokerError).with.property('reason', 'too_many_requests');
    const takenAt = clock.now();
    const set = { takenAt, pods: new Set(['x']), serviceAccounts: new Set(['y']) };
    const other = await reports.reportLive('edge', set).catch((error: unknown) => error);
    expect(other).to.be.instanceOf(BrokerError).with.property('reason', 'too_many_requests');
    expect(written).to.have.length(250_000);
    // Another cluster is not held back by it.
    expect(await reports.reportDead('west', more)).to.equal(DEATHS_PER_SECOND);
    await clock.advance(1000);
    expect(await reports.reportDead('edge', more)).to.equal(DEATHS_PER_SECOND);
  });

  it('do not count again where they are told again', async () => {
    const { reports, toDead } = setUp();
    for (let time = 0; time < 3; time++)
      expect(await reports.reportDead('edge', toDead(100_000))).to.equal(time === 0 ? 100_000 : 0);
  });
});
