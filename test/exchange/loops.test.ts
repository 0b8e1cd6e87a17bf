// The two loops with time and randomness in the test's hands.
import { expect } from 'chai';
import type { PodAudience } from '../../common/protocol/pod.ts';
import { type AcquireOptions, acquireAll } from '../../exchange/acquire.ts';
import type { IssuedToken, Outcome } from '../../exchange/exchange.ts';
import { createFailure, toRefusal } from '../../exchange/failure.ts';
import { keepFresh, type RefreshOptions } from '../../exchange/refresh.ts';
import { createWatchdog } from '../../exchange/watchdog.ts';
import { FakeClock, settle } from './fake-clock.ts';

const ORDERS: PodAudience = { name: 'orders', audience: 'orders.api' };
const BILLING: PodAudience = { name: 'billing', audience: 'billing.api' };
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

function issued(startMs: number, lifeMs: number): Outcome & { ok: true } {
  const token: IssuedToken = {
    content: {
      access_token: 'not-a-token',
      token_type: 'Bearer',
      issued_token_type: 'x',
      expires_at: new Date(startMs + lifeMs).toISOString(),
      audience: 'orders.api',
      scope: '',
    },
    startMs,
    endMs: startMs + lifeMs,
  };
  return { ok: true, token };
}

function refused(reason: string, status = 400): Outcome {
  const failure = toRefusal({
    status,
    reason,
    text: undefined,
    correlationId: undefined,
    retryAfterMs: undefined,
  });
  return { ok: false, failure, serviceAccount: 'shop/web' };
}

describe('exchange first exchange', () => {
  function options(
    clock: FakeClock,
    tryOnce: (audience: PodAudience, count: number) => Outcome,
  ): AcquireOptions {
    let count = 0;
    return {
      exchanger: { tryOnce: async (audience) => tryOnce(audience, ++count) },
      deadlineMs: 60_000,
      uptime: clock,
      random: () => 0.5,
      log: quiet,
      signal: new AbortController().signal,
    };
  }

  it('makes its first try at once', async () => {
    const clock = new FakeClock();
    const result = await acquireAll(
      [ORDERS],
      options(clock, () => issued(clock.now(), 1_000)),
    );
    expect(result.ok).to.equal(true);
    // The deadline is the only thing anybody ever waited for.
    expect(clock.slept).to.deep.equal([60_000]);
  });

  it('doubles its waits and makes its last try just before the deadline', async () => {
    const clock = new FakeClock();
    const tries: number[] = [];
    const result = acquireAll(
      [ORDERS],
      options(clock, () => {
        tries.push(clock.now() - 1_000_000);
        return refused('unavailable', 503);
      }),
    );
    await clock.advance(60_000);
    const ended = await result;
    expect(ended.ok).to.equal(false);
    expect(tries.slice(0, 6)).to.deep.equal([0, 250, 750, 1_750, 3_750, 7_750]);
    expect(tries.at(-1)).to.equal(58_000);
    if (!ended.ok)
      expect(ended.failures[0]).to.deep.include({
        why: 'deadline',
        serviceAccount: 'shop/web',
        tries: tries.length,
      });
  });

  it('abandons the other audiences as soon as one has failed for good', async () => {
    const clock = new FakeClock();
    const result = acquireAll(
      [ORDERS, BILLING],
      options(clock, ({ name }) =>
        name === 'orders' ? refused('no_role') : refused('token_issuer'),
      ),
    );
    await settle();
    const ended = await result;
    if (ended.ok) throw new Error('must fail');
    expect(ended.failures.map(({ audience, why }) => [audience.name, why])).to.deep.equal([
      ['orders', 'abandoned'],
      ['billing', 'final'],
    ]);
  });

  it('ends when the process is told to', async () => {
    const clock = new FakeClock();
    const end = new AbortController();
    const result = acquireAll([ORDERS], {
      ...options(clock, () => refused('no_role')),
      signal: end.signal,
    });
    await settle();
    end.abort();
    expect((await result).ok).to.equal(false);
  });
});

describe('exchange refresh', () => {
  interface Setup {
    clock: FakeClock;
    end: AbortController;
    tries: number[];
    written: IssuedToken[];
    options: RefreshOptions;
  }

  function setup(
    tryOnce: (clock: FakeClock, count: number) => Outcome,
    write: () => void = () => undefined,
  ): Setup {
    const clock = new FakeClock();
    const end = new AbortController();
    const tries: number[] = [];
    const written: IssuedToken[] = [];
    return {
      clock,
      end,
      tries,
      written,
      options: {
        exchanger: {
          tryOnce: async () => {
            tries.push(clock.now() - 1_000_000);
            return tryOnce(clock, tries.length);
          },
        },
        write: (_audience, token) => {
          write();
          written.push(token);
        },
        tryTimeoutMs: 10_000,
        clock,
        uptime: clock,
        random: () => 0,
        watchdog: createWatchdog({ uptime: clock, everyMs: 5_000 }),
        log: quiet,
        signal: end.signal,
      },
    };
  }

  async function stop({ end, clock }: Setup, running: Promise<never>): Promise<void> {
    end.abort(new Error('the end'));
    await clock.advance(0);
    const error = await running.catch((reason: unknown) => reason);
    expect(error).to.have.property('message', 'the end');
  }

  it('renews at 60 % of each life where the dice say so', async () => {
    const test = setup((clock) => issued(clock.now(), 1_000_000));
    const running = keepFresh(ORDERS, { startMs: 1_000_000, endMs: 2_000_000 }, test.options);
    running.catch(() => undefined);
    await test.clock.advance(1_900_000);
    expect(test.tries).to.deep.equal([600_000, 1_200_000, 1_800_000]);
    expect(test.written).to.have.lengthOf(3);
    await stop(test, running);
  });

  it('counts a token that could not be written as not renewed', async () => {
    const test = setup(
      (clock) => issued(clock.now(), 1_000_000),
      () => {
        throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      },
    );
    const running = keepFresh(ORDERS, { startMs: 1_000_000, endMs: 2_000_000 }, test.options);
    running.catch(() => undefined);
    await test.clock.advance(660_000);
    expect(test.tries.length).to.be.above(5);
    expect(test.written).to.have.lengthOf(0);
    await stop(test, running);
  });

  it('asks again and again after a refusal for good, also long after the expiry', async () => {
    const test = setup((clock, count) =>
      count < 400 ? refused('token_issuer') : issued(clock.now(), 100_000_000),
    );
    const running = keepFresh(ORDERS, { startMs: 1_000_000, endMs: 2_000_000 }, test.options);
    running.catch(() => undefined);
    await test.clock.advance(10_000_000);
    expect(test.written).to.have.lengthOf(1);
    await stop(test, running);
  });

  it('does not ask in a tight loop where the broker gives tokens of a second', async () => {
    const test = setup((clock) => issued(clock.now(), 1));
    const running = keepFresh(ORDERS, { startMs: 1_000_000, endMs: 1_000_001 }, test.options);
    running.catch(() => undefined);
    await test.clock.advance(10_000);
    expect(test.tries.length).to.be.within(15, 21);
    await stop(test, running);
  });

  it('is never taken for stuck while it waits for hours', async () => {
    const test = setup((clock) => issued(clock.now(), 86_400_000));
    const stuck = test.options.watchdog.watch(test.end.signal);
    let found: string | undefined;
    stuck.then(
      (name) => {
        found = name;
      },
      () => undefined,
    );
    const running = keepFresh(
      ORDERS,
      { startMs: 1_000_000, endMs: 1_000_000 + 86_400_000 },
      test.options,
    );
    running.catch(() => undefined);
    await test.clock.advance(64_000_000);
    expect(found).to.equal(undefined);
    expect(test.written).to.have.lengthOf(1);
    await stop(test, running);
  });

  it('is found stuck where a try never ends', async () => {
    const test = setup(() => refused('unavailable', 503));
    const options = {
      ...test.options,
      exchanger: { tryOnce: () => new Promise<never>(() => undefined) },
    };
    const stuck = test.options.watchdog.watch(test.end.signal);
    const running = keepFresh(ORDERS, { startMs: 1_000_000, endMs: 1_010_000 }, options);
    running.catch(() => undefined);
    await test.clock.advance(6_000 + 30_000 + 10_000);
    expect(await stuck).to.equal('orders');
  });

  it('is not taken for stuck where the whole process stood still, and its loops move on after that', async () => {
    const uptime = new FakeClock();
    const watchdog = createWatchdog({ uptime, everyMs: 5_000 });
    const end = new AbortController();
    const ended = watchdog.watch(end.signal).catch(() => 'nobody');
    watchdog.expect('orders', 1_000);
    // The look that comes first after the thaw finds it overdue; then the loop has its turn.
    await uptime.advance(5_000);
    watchdog.expect('orders', 1_000_000);
    await uptime.advance(500_000);
    end.abort();
    expect(await ended).to.equal('nobody');
  });

  it('renews in time where the system’s clock is set back by hours', async () => {
    const test = setup((clock) => issued(clock.now(), 1_000_000));
    let backMs = 0;
    const wall = {
      now: () => test.clock.now() - backMs,
      sleep: (ms: number, signal?: AbortSignal) => test.clock.sleep(ms, signal),
    };
    const life = { startMs: 1_000_000, endMs: 2_000_000 };
    const running = keepFresh(ORDERS, life, { ...test.options, clock: wall });
    running.catch(() => undefined);
    await test.clock.advance(100_000);
    backMs = 7_200_000;
    await test.clock.advance(500_000);
    expect(test.tries).to.deep.equal([600_000]);
    await stop(test, running);
  });

  it('renews as soon as it wakes where the machine slept longer than the token’s life', async () => {
    const test = setup((clock) => issued(clock.now(), 100_000_000));
    let aheadMs = 0;
    const wall = {
      now: () => test.clock.now() + aheadMs,
      sleep: (ms: number, signal?: AbortSignal) => test.clock.sleep(ms, signal),
    };
    const life = { startMs: 1_000_000, endMs: 2_000_000 };
    const running = keepFresh(ORDERS, life, { ...test.options, clock: wall });
    running.catch(() => undefined);
    await test.clock.advance(100_000);
    aheadMs = 7_200_000;
    await test.clock.advance(30_000);
    expect(test.tries).to.have.lengthOf(1);
    await stop(test, running);
  });
});

describe('exchange failures', () => {
  const rows: readonly [reason: string | undefined, status: number, code: string, pace: string][] =
    [
      ['no_role', 400, 'no_role', 'slow'],
      ['token_not_yet_valid', 400, 'token_not_yet_valid', 'slow'],
      ['token_signature', 400, 'token_signature', 'slow'],
      ['token_expired', 400, 'token_expired', 'slow'],
      ['token_refused', 400, 'token_refused', 'slow'],
      ['token_issuer', 400, 'token_issuer', 'never'],
      ['unavailable', 503, 'unavailable', 'fast'],
      ['internal', 500, 'internal', 'fast'],
      ['no_role', 503, 'no_role', 'fast'],
      [undefined, 429, 'http_429', 'fast'],
      [undefined, 408, 'http_408', 'fast'],
      [undefined, 403, 'http_403', 'never'],
      ['tomorrow', 400, 'tomorrow', 'never'],
      [undefined, 302, 'redirect', 'never'],
      [undefined, 204, 'answer_invalid', 'never'],
    ];
  for (const [reason, status, code, pace] of rows) {
    it(`takes status ${status} with ${reason ?? 'no reason'} as ${pace}`, () => {
      const failure = toRefusal({
        status,
        reason,
        text: undefined,
        correlationId: undefined,
        retryAfterMs: undefined,
      });
      expect(failure).to.include({ code, pace, status });
      expect(failure.advice).to.not.equal('');
    });
  }

  it('advises to give the correlation id only where there is one', () => {
    const refusal = { status: 503, reason: undefined, text: undefined, retryAfterMs: undefined };
    expect(toRefusal({ ...refusal, correlationId: 'c-1' }).advice).to.match(
      /^give the correlation/,
    );
    expect(toRefusal({ ...refusal, correlationId: undefined }).advice).to.include('a proxy');
  });

  it('refuses to make a failure that is not in its list', () => {
    expect(() => createFailure('nonsense', '')).to.throw(TypeError);
  });
});
