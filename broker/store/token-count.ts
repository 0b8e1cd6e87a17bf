// How many tokens live, by kind: counted along the index by time, a few thousand at a step, and then remembered for a
// minute. A scrape of metrics must cost nothing to speak of, however many there are.
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { nowSeconds } from '../../common/clock.ts';
import type { Core } from './core.ts';
import type { TokenStore } from './store.ts';
import { IS_STATIC } from './token-rows.ts';
import { isLiveAt } from './token-search.ts';

const LAG_MS = 60_000;
/** About a millisecond of an embedded database. */
const STEP_ROWS = 10_000;

type Counts = Awaited<ReturnType<TokenStore['count']>>;

/** Counts at most once a minute, whoever asks, and however many at once. */
export function createTokenCount(core: Core): TokenStore['count'] {
  const { clock } = core;
  let counted: { readonly at: number; readonly counts: Counts } | undefined;
  let running: Promise<Counts> | undefined;

  async function count(): Promise<Counts> {
    const at = clock.now();
    const all = await countAll(core, nowSeconds(clock));
    const fixed = await countStatic(core, nowSeconds(clock));
    const counts = { client: Math.max(0, all - fixed), static: fixed };
    counted = { at, counts };
    return counts;
  }

  return async () => {
    if (counted && clock.now() - counted.at < LAG_MS) return counted.counts;
    running ??= count().finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function countAll(core: Core, now: number): Promise<number> {
  let total = 0;
  for (let after = now; ; await yieldToOthers()) {
    const end = await findStepEnd(core, after);
    total += await countBetween(core, { after, end });
    if (end === undefined) return total;
    after = end;
  }
}

/** The time at which so many more have ended; undefined where fewer are left. */
async function findStepEnd(core: Core, after: number): Promise<number | undefined> {
  const row = await core.read((db) =>
    db
      .selectFrom('coatcheck_tokens')
      .select('expires_at')
      .where('expires_at', '>', after)
      .orderBy('expires_at')
      .limit(1)
      .offset(STEP_ROWS)
      .executeTakeFirst(),
  );
  return row?.expires_at;
}

async function countBetween(
  core: Core,
  { after, end }: { after: number; end: number | undefined },
): Promise<number> {
  const row = await core.read((db) =>
    db
      .selectFrom('coatcheck_tokens')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .where('expires_at', '>', after)
      .$if(end !== undefined, (query) => query.where('expires_at', '<=', end ?? 0))
      .executeTakeFirst(),
  );
  return row?.n ?? 0;
}

async function countStatic(core: Core, now: number): Promise<number> {
  const row = await core.read((db) =>
    db
      .selectFrom('coatcheck_tokens')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .where(IS_STATIC)
      .where(isLiveAt(now))
      .executeTakeFirst(),
  );
  return row?.n ?? 0;
}
