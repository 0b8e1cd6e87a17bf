// What reports of deaths do with a store that answers, and with one that is away: nobody is left out of it who could have
// been written, and what waits is bounded.
import { expect } from 'chai';
import { createDeathReports } from '../../broker/death-reports.ts';
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
          written.push(...deaths);
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
  const toDead = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      kind: 'Pod' as const,
      uid: `pod-${i}`,
      diedAt: clock.now(),
    }));
  return { reports, state, written, toDead };
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
});
