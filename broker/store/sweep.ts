// What has ended is taken out, a little at a time, by one replica at a time; and decisions are kept within their bounds.
import type { DeleteQueryBuilder, DeleteResult, Kysely } from 'kysely';
import { type Clock, nowSeconds } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { type Core, repeatInBatches } from './core.ts';
import { sweepDeaths } from './deaths.ts';
import type { Tables } from './schema.ts';

const SWEEP_MS = 60_000;
/** A sweep that takes longer is done by two, which is no harm. */
const LEASE_SECONDS = 90;
/** A token is told from one that never was, and a denial outlives a clock that is behind. */
const GRACE_SECONDS = 3600;
const BATCH = 500;
const LEASE = 'sweep';

export interface SweepOptions {
  /** Tells replicas apart. */
  readonly holder: string;
  readonly keepDecisionsSeconds: number;
  readonly maxDecisions: number;
}

export interface Sweep {
  /** One round, if no other replica has it; resolves to how many rows went. */
  run(): Promise<number>;
  /** Rounds until the signal. */
  loop(signal: AbortSignal): Promise<void>;
}

export function createSweep(
  core: Core,
  options: SweepOptions & { clock: Clock; log: Logger },
): Sweep {
  const { clock, log } = options;

  async function run(): Promise<number> {
    const now = nowSeconds(clock);
    if (!(await takeLease(core, options.holder, now))) return 0;
    const oldest = clock.now() - options.keepDecisionsSeconds * 1000;
    return (
      (await sweepTokens(core, now - GRACE_SECONDS)) +
      (await sweepDenials(core, now - GRACE_SECONDS)) +
      (await sweepDeaths(core, now - GRACE_SECONDS, BATCH)) +
      (await sweepDecisions(core, oldest)) +
      (await boundDecisions(core, options.maxDecisions))
    );
  }

  return {
    run,
    loop: async (signal) => {
      while (!signal.aborted) {
        await clock.sleep(SWEEP_MS, signal).catch(() => undefined);
        if (signal.aborted) return;
        await run().catch((error: unknown) =>
          log.warn({ err: error }, 'what has ended could not be swept'),
        );
      }
    },
  };
}

function takeLease(core: Core, holder: string, now: number): Promise<boolean> {
  const until = now + LEASE_SECONDS;
  return core.write(async ({ db }) => {
    const taken = await db
      .insertInto('coatcheck_leases')
      .values({ name: LEASE, holder, until })
      .onConflict((conflict) =>
        conflict
          .column('name')
          .doUpdateSet({ holder, until })
          .where((eb) =>
            eb.or([
              eb('coatcheck_leases.until', '<=', now),
              eb('coatcheck_leases.holder', '=', holder),
            ]),
          ),
      )
      .returning('name')
      .execute();
    return taken.length > 0;
  });
}

/** Takes rows out a batch at a time, each batch a transaction; resolves to how many went. */
function removeInBatches(
  core: Core,
  remove: (
    db: Kysely<Tables>,
    limit: number,
  ) => DeleteQueryBuilder<Tables, keyof Tables, DeleteResult>,
): Promise<number> {
  return repeatInBatches(
    (limit) =>
      core.write(async ({ db }) => {
        const { numDeletedRows } = await remove(db, limit).executeTakeFirst();
        return Number(numDeletedRows);
      }),
    BATCH,
  );
}

function sweepTokens(core: Core, before: number): Promise<number> {
  return removeInBatches(core, (db, limit) =>
    db.deleteFrom('coatcheck_tokens').where('seq', 'in', (inner) =>
      inner
        .selectFrom('coatcheck_tokens')
        .select('seq')
        .where('expires_at', '<=', before)
        // By the index also where the database has no statistics yet.
        .orderBy('expires_at')
        .limit(limit),
    ),
  );
}

function sweepDenials(core: Core, before: number): Promise<number> {
  return removeInBatches(core, (db, limit) =>
    db
      .deleteFrom('coatcheck_denials')
      .where('id', 'in', (inner) =>
        inner
          .selectFrom('coatcheck_denials')
          .select('id')
          .where('until', '<=', before)
          .limit(limit),
      ),
  );
}

/** @param before milliseconds since the epoch */
function sweepDecisions(core: Core, before: number): Promise<number> {
  return removeInBatches(core, (db, limit) =>
    db
      .deleteFrom('coatcheck_decisions')
      .where('seq', 'in', (inner) =>
        inner.selectFrom('coatcheck_decisions').select('seq').where('at', '<', before).limit(limit),
      ),
  );
}

async function boundDecisions(core: Core, max: number): Promise<number> {
  const last = await core.read((db) =>
    db
      .selectFrom('coatcheck_decisions')
      .select('seq')
      .orderBy('seq', 'desc')
      .limit(1)
      .offset(max)
      .executeTakeFirst(),
  );
  if (!last) return 0;
  return removeInBatches(core, (db, limit) =>
    db
      .deleteFrom('coatcheck_decisions')
      .where('seq', 'in', (inner) =>
        inner
          .selectFrom('coatcheck_decisions')
          .select('seq')
          .where('seq', '<=', last.seq)
          .limit(limit),
      ),
  );
}
