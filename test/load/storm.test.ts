// A thousand pods at once before an API server that takes 200 ms for a review, and a namespace that floods beside them: a
// broker process keeps reviews in flight bounded, serves all the others in turn, and keeps nobody past the deadline.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { PATH_TOKEN } from '../../common/protocol/oauth.ts';
import { nextWait, parseRetryAfter } from '../../exchange/retry.ts';
import { type Connections, openConnections } from '../faults/http.ts';
import { createRandom } from '../faults/traffic.ts';
import { toReview } from '../support/api-server.ts';
import { noteToken } from '../support/tokens.ts';
import {
  CONTAINER_MIB,
  describeTimes,
  type Load,
  readMemory,
  startLoad,
  toExchange,
} from './load.ts';

const QUIET = 1000;
const FLOOD = 5000;
/** By so many connections: each asks again as soon as it was answered. */
const FLOOD_CONNECTIONS = 1500;
const REVIEW_MS = 200;
const IN_FLIGHT = 32;
const DEADLINE_MS = 60_000;

interface Outcome {
  /** From the first try to the token. */
  readonly totalMs: number;
  readonly tries: readonly {
    readonly status: number;
    readonly ms: number;
    readonly retryAfter?: number;
  }[];
}

describe('a storm of pods', function () {
  this.timeout(180_000);
  let load: Load;
  let http: Connections;
  let flooding: Connections;
  beforeEach(async () => {
    load = await startLoad('storm');
    load.api.answer = async (asked) => {
      await sleep(REVIEW_MS);
      return { body: toReview(asked) };
    };
    http = openConnections(load.broker.url);
    // One address has half of the connections, and needs more here.
    flooding = openConnections(load.broker.url, '127.0.0.2');
  });
  afterEach(async () => {
    http.close();
    flooding.close();
    await load.stop();
  });

  it(`serves ${QUIET} pods of as many namespaces, while another namespace asks ${FLOOD} times at once`, async () => {
    const random = createRandom(1);
    const quiet = Array.from({ length: QUIET }, (_, i) => load.podToken(`team-${i}`));
    const flood = Array.from({ length: FLOOD }, () => load.podToken('flood'));
    const startedAt = performance.now();
    // The flood first: who comes later must not wait behind it.
    const flooded: Outcome[] = [];
    const ofFlood = Promise.all(
      Array.from({ length: FLOOD_CONNECTIONS }, async () => {
        for (let token = flood.pop(); token !== undefined; token = flood.pop())
          flooded.push(await acquire(token, { random, retries: false, by: flooding }));
      }),
    );
    const served = await Promise.all(
      quiet.map((token) => acquire(token, { random, retries: true, by: http })),
    );
    const quietMs = performance.now() - startedAt;
    await ofFlood;
    const memory = readMemory(load.broker.pid);
    const tries = [...served, ...flooded].flatMap((one) => one.tries);
    const count = (outcomes: readonly Outcome[], status: number) =>
      outcomes.filter((one) => one.tries.at(-1)?.status === status).length;
    const atOnce = served.filter((one) => one.tries.length === 1).length;
    console.log(
      `      all ${QUIET} served in ${(quietMs / 1000).toFixed(1)} s, ${atOnce} at the first try: ${describeTimes(served.map(({ totalMs }) => totalMs))}; ` +
        `of the flood ${count(flooded, 200)} of ${FLOOD} served, ${count(flooded, 429)} told to come again; at most ${load.api.maxOpen} reviews in flight; ` +
        `longest answer ${(Math.max(...tries.map(({ ms }) => ms)) / 1000).toFixed(1)} s; resident at most ${memory.peak.toFixed(0)} MiB`,
    );
    expect(served.map((one) => one.tries.at(-1)?.status)).to.deep.equal(served.map(() => 200));
    expect(load.api.maxOpen).to.be.within(IN_FLIGHT / 2, IN_FLIGHT);
    // What the broker keeps somebody waiting; the answer itself may come late where the whole machine does.
    const waits = 'coatcheck_broker_token_review_wait_seconds';
    const [within, all] = await Promise.all([
      load.metric(`${waits}_bucket{le="10",cluster="local"}`),
      load.metric(`${waits}_count{cluster="local"}`),
    ]);
    expect(all).to.be.at.least(QUIET);
    // A machine with much else to do wakes nobody in time.
    expect(within / all, 'reviews whose turn came within the 10 s of a try').to.be.above(0.98);
    if (!Number.isNaN(memory.peak)) expect(memory.peak).to.be.below(CONTAINER_MIB);
    expect([...new Set(tries.map(({ status }) => status))]).to.include.members([200, 429]);
    for (const { status, retryAfter } of tries)
      if (status === 429) expect(retryAfter).to.be.within(1, 30);
    // Round robin: had the flood its turns before them, the quiet ones would wait half a minute.
    const own = new Set(quiet);
    const reviewed = load.api.reviews.slice(0, 2 * QUIET).map(({ token }) => token);
    const early = new Set(reviewed.filter((token) => own.has(token))).size;
    expect(early).to.equal(QUIET);
    expect(await load.metric('coatcheck_broker_token_reviews_waiting{cluster="local"}')).to.equal(
      0,
    );
    const turnedAway = await load.metric(
      'coatcheck_broker_token_reviews_turned_away_total{cluster="local",why="full"}',
    );
    expect(turnedAway).to.be.above(0);
  });

  /** As the exchange program does it: by its own waits. */
  async function acquire(
    token: string,
    { random, retries, by }: { random: () => number; retries: boolean; by: Connections },
  ): Promise<Outcome> {
    const startedAt = performance.now();
    const tries: { status: number; ms: number; retryAfter?: number }[] = [];
    for (;;) {
      const triedAt = performance.now();
      const answer = await by.send({ path: PATH_TOKEN, form: toExchange(token) });
      const header = answer?.headers['retry-after'];
      tries.push({
        status: answer?.status ?? 0,
        ms: performance.now() - triedAt,
        ...(header !== undefined && { retryAfter: Number(header) }),
      });
      const totalMs = performance.now() - startedAt;
      if (answer?.status === 200) noteToken(String(answer.body.access_token));
      const isPassing = answer?.status === 429 || answer?.status === 503;
      if (!isPassing || !retries) return { totalMs, tries };
      const wait = nextWait(
        {
          pace: 'fast',
          failures: tries.length,
          retryAfterMs: parseRetryAfter(header, Date.now()),
          random,
        },
        { leftMs: DEADLINE_MS - totalMs, reserveMs: 2000 },
      );
      if (wait === undefined) return { totalMs, tries };
      await sleep(wait);
    }
  }
});
