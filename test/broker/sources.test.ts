// The lane of addresses that flood: bounded, in turn, and left by whoever hangs up.
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { createSources, TurnedAway } from '../../broker/sources.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock } from '../support/clock.ts';

const MAX_WAITING = 1024;

function setUp() {
  const counts = { delayed: 0, turnedAway: 0 };
  const lines: string[] = [];
  const sources = createSources({
    refusalsPerSecond: 1,
    clock: createFakeClock(),
    random: () => 0.5,
    log: createLogger({
      level: 'debug',
      process: 'test',
      stream: { write: (line) => lines.push(line) },
    }),
    metrics: {
      countDelayed: () => {
        counts.delayed += 1;
      },
      countTurnedAway: () => {
        counts.turnedAway += 1;
      },
      countUnrecorded: () => undefined,
    },
  });
  const order: string[] = [];
  /** A request of the address; says how it ended. */
  const come = (remoteAddress: string, name = remoteAddress, more: object = {}) => {
    const request = Object.assign(new EventEmitter(), {
      socket: { remoteAddress },
      headers: {},
      complete: true,
      resume: () => undefined,
      ...more,
    }) as unknown as IncomingMessage;
    const response = new EventEmitter() as ServerResponse;
    const visit = sources.admit(request, response);
    const ended = Promise.resolve(visit).then(
      () => {
        order.push(name);
        return 'served';
      },
      (error: unknown) => (error instanceof TurnedAway ? error.retryAfterSeconds : String(error)),
    );
    return { request, visit, ended, hangUp: () => response.emit('close') };
  };
  const exhaust = async (address: string) => {
    for (let i = 0; i < 10; i += 1) {
      const { visit, ended } = come(address);
      (await visit).charge();
      await ended;
    }
    order.length = 0;
  };
  return { sources, come, exhaust, counts, order, lines };
}

describe('sources', () => {
  it('are let in at once until their share is used up, and one does not pay for another', async () => {
    const { come, exhaust } = setUp();
    await exhaust('203.0.113.5');
    expect(come('203.0.113.5').visit).to.be.instanceOf(Promise);
    expect(come('203.0.113.6').visit).to.not.be.instanceOf(Promise);
  });
  it('that come in a crowd are begun a few at a time, addresses in turn', async () => {
    const { come, order } = setUp();
    const crowd = Array.from({ length: 20 }, (_, i) => come('203.0.113.5', `a${i}`));
    const other = come('203.0.113.6', 'b');
    const atOnce = crowd.filter(({ visit }) => !(visit instanceof Promise)).length;
    expect(atOnce).to.equal(8);
    await Promise.all([...crowd, other].map(({ ended }) => ended));
    expect(order).to.have.length(21);
    expect(order.indexOf('b'), 'second of those that waited').to.equal(atOnce + 1);
    expect(order.filter((name) => name !== 'b')).to.deep.equal(crowd.map((_, i) => `a${i}`));
  });
  it('that flood take turns', async () => {
    const { come, exhaust, order } = setUp();
    await exhaust('203.0.113.5');
    await exhaust('203.0.113.6');
    await Promise.all([
      ...['a1', 'a2', 'a3'].map((name) => come('203.0.113.5', name).ended),
      ...['b1', 'b2'].map((name) => come('203.0.113.6', name).ended),
    ]);
    expect(order).to.deep.equal(['a1', 'b1', 'a2', 'b2', 'a3']);
  });
  it('that flood give way to others of them, the one with the most first', async () => {
    const { sources, come, exhaust, counts, lines } = setUp();
    await exhaust('203.0.113.5');
    await exhaust('203.0.113.6');
    const flood = Array.from({ length: MAX_WAITING }, () => come('203.0.113.5').ended);
    expect(sources.waiting()).to.equal(MAX_WAITING);
    const tooMany = come('203.0.113.5').ended;
    const other = come('203.0.113.6').ended;
    expect(sources.waiting()).to.equal(MAX_WAITING);
    expect(await tooMany).to.equal(2);
    expect(await flood.at(-1)).to.equal(2);
    expect(await other).to.equal('served');
    expect((await Promise.all(flood)).filter((end) => end === 'served')).to.have.length(
      MAX_WAITING - 1,
    );
    expect([sources.waiting(), counts.turnedAway]).to.deep.equal([0, 2]);
    expect(lines, 'one line for all of them').to.have.length(1);
  });
  it('that are turned away are told so once their short body was read, and at once where it has no end in sight', async () => {
    const { come, exhaust } = setUp();
    await exhaust('203.0.113.5');
    const flood = Array.from({ length: MAX_WAITING }, () => come('203.0.113.5').ended);
    const unread = { complete: false };
    const chunked = come('203.0.113.5', 'chunked', {
      ...unread,
      headers: { 'transfer-encoding': 'chunked' },
    });
    const short = come('203.0.113.5', 'short', { ...unread, headers: { 'content-length': '9' } });
    let isTold = false;
    void short.ended.then(() => {
      isTold = true;
    });
    expect(await chunked.ended).to.equal(2);
    await Promise.all(flood);
    expect(isTold).to.equal(false);
    short.request.emit('end');
    expect(await short.ended).to.equal(2);
  });
  it('that hang up leave the lane', async () => {
    const { sources, come, exhaust } = setUp();
    await exhaust('203.0.113.5');
    const first = come('203.0.113.5');
    const second = come('203.0.113.5');
    first.hangUp();
    expect(sources.waiting()).to.equal(1);
    expect(await second.ended).to.equal('served');
    expect(await first.ended).to.equal('served');
  });
});
