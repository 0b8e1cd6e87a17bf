// Garbage by the ten thousand at a broker process: it costs the API server nothing and the issuer one fetch per cooldown,
// good exchanges go on beside it from other addresses and from the same one, and neither memory nor log grows with it.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { openConnection } from '../../bench/load/connection.ts';
import { PATH_TOKEN } from '../../common/protocol/oauth.ts';
import {
  CONTAINER_MIB,
  describeTimes,
  exchangeSteadily,
  type Load,
  readMemory,
  startLoad,
  toExchange,
} from './load.ts';

const REQUESTS = 10_000;
const CONNECTIONS = 32;
/** Written down of each address: a burst at first, and each second what comes back of it and a sample; the others are counted. */
const RECORDED = { atFirst: 500, perSecond: 60 };
const COOLDOWN_SECONDS = 2;
/** Each stays below what one identity may ask for at once. */
const PODS = 100;

describe('garbage', function () {
  this.timeout(240_000);
  let load: Load;
  let startedAt: number;
  before(async () => {
    startedAt = performance.now();
    load = await startLoad('garbage', { entry: { cooldownSeconds: COOLDOWN_SECONDS } });
  });
  after(() => load.stop());

  const wrong = () => randomBytes(64);
  const hourAgo = () => Math.floor(Date.now() / 1000) - 7200;
  const kinds: readonly {
    title: string;
    reasons: readonly string[];
    make: (i: number) => string | Buffer;
  }[] = [
    {
      title: 'random bytes',
      reasons: ['body_invalid', 'token_malformed'],
      make: (i) => (i % 2 === 0 ? randomBytes(600) : randomBytes(600).toString('base64url')),
    },
    {
      title: 'a trusted iss and a random kid',
      reasons: ['token_signature'],
      make: (i) =>
        load.issuer.token({
          mint: { header: { kid: `${i}-${randomBytes(8).toString('hex')}` }, sign: wrong },
        }),
    },
    {
      title: 'a known kid and a wrong signature',
      reasons: ['token_signature'],
      make: () => load.issuer.token({ mint: { sign: wrong } }),
    },
    {
      title: 'rightly signed and expired',
      reasons: ['token_expired'],
      make: () => load.issuer.token({ issuedAt: hourAgo() }),
    },
    {
      title: 'rightly signed for another audience',
      reasons: ['target_refused'],
      make: (i) =>
        load.issuer.token({ audiences: ['others'], pod: { name: 'x', uid: `pod-${i % PODS}` } }),
    },
  ];

  for (const { title, reasons, make } of kinds) {
    it(`costs nobody a review: ${REQUESTS.toLocaleString('en')} of ${title}`, async () => {
      const requests = Array.from({ length: REQUESTS }, (_, i) => toRequest(make(i)));
      const before = { reviews: load.api.reviews.length, fetches: load.issuer.requests.length };
      const memory = readMemory(load.broker.pid).now;
      const near = exchangeSteadily(load, '127.0.0.1');
      const far = exchangeSteadily(load, '127.0.0.2');
      const began = performance.now();
      const statuses = await flood(requests);
      const seconds = (performance.now() - began) / 1000;
      await Promise.all([near.stop(), far.stop()]);
      const good = near.times.length + far.times.length;
      const fetches = load.issuer.requests.length - before.fetches;
      const after = readMemory(load.broker.pid);
      console.log(
        `      ${Math.round(REQUESTS / seconds)}/s for ${seconds.toFixed(1)} s; ${good} good exchanges meanwhile: from another address ${describeTimes(far.times)}; ` +
          `from the same ${describeTimes(near.times)}; ${fetches} fetches of keys; resident ${memory.toFixed(0)} → ${after.now.toFixed(0)} MiB`,
      );
      expect([...near.refused, ...far.refused], 'good exchanges').to.deep.equal([]);
      expect(good).to.be.above(50);
      expect(
        load.api.reviews.length - before.reviews,
        'reviews beyond those of good pods',
      ).to.equal(good);
      expect(fetches).to.be.at.most(Math.ceil(seconds / COOLDOWN_SECONDS) + 1);
      expect([...statuses.keys()]).to.deep.equal([400]);
      for (const reason of reasons) expect(await countDenied(reason), reason).to.be.above(0);
    });
  }

  it('fills neither memory nor log nor audit', async () => {
    const lines = load.broker.log();
    const refused = lines.filter(({ kind, outcome }) => kind === 'decision' && outcome === 'deny');
    const logged = lines.filter(({ msg }) => msg === 'request refused');
    const { now, peak } = readMemory(load.broker.pid);
    const seconds = (performance.now() - startedAt) / 1000;
    const [delayed, unrecorded] = await Promise.all([
      load.metric('coatcheck_broker_limited_requests_total{limit="source_delayed"}'),
      countUnrecorded(),
    ]);
    console.log(
      `      ${5 * REQUESTS} refused: ${refused.length} audit records, ${logged.length} log lines, ${unrecorded} counted alone; ` +
        `${delayed} took their turn behind the others; resident ${now.toFixed(0)} MiB, at most ${peak.toFixed(0)} MiB; ${seconds.toFixed(1)} s`,
    );
    // Those for another audience are of pods that proved who they are: each is recorded.
    const unproven = refused.filter(({ reason }) => reason !== 'target_refused');
    const most = RECORDED.atFirst + RECORDED.perSecond * seconds;
    expect(unproven.length).to.be.within(1, most);
    expect(delayed).to.be.above(REQUESTS);
    expect(unrecorded).to.be.above(REQUESTS);
    if (!Number.isNaN(peak)) expect(peak).to.be.below(CONTAINER_MIB);
  });

  async function countDenied(reason: string): Promise<number> {
    return load.metric(
      `coatcheck_broker_decisions_total{dialect="oauth",outcome="deny",reason="${reason}"}`,
    );
  }
  async function countUnrecorded(): Promise<number> {
    const reasons = [...new Set(kinds.flatMap((kind) => kind.reasons))];
    const counts = await Promise.all(
      reasons.map((reason) =>
        load.metric(`coatcheck_broker_unrecorded_refusals_total{reason="${reason}"}`),
      ),
    );
    return counts.reduce((sum, one) => sum + one, 0);
  }

  function toRequest(garbage: string | Buffer): Buffer {
    const body =
      typeof garbage === 'string'
        ? Buffer.from(new URLSearchParams(toExchange(garbage)).toString())
        : garbage;
    const head = `POST ${PATH_TOKEN} HTTP/1.1\r\nHost: broker\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), body]);
  }

  /** All of them, as fast as they are answered; how many of each status. */
  async function flood(requests: readonly Buffer[]): Promise<ReadonlyMap<number, number>> {
    const { hostname: host, port } = new URL(load.broker.url);
    const statuses = new Map<number, number>();
    let next = 0;
    const worker = async () => {
      const connection = await openConnection({
        host,
        port: Number(port),
        localAddress: '127.0.0.1',
      });
      for (let request = requests[next++]; request; request = requests[next++]) {
        const status = await connection.send(request);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, worker));
    return statuses;
  }
});
