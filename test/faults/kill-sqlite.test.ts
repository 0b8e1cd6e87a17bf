// One broker process on sqlite, killed fifty times in the middle of whatever it does: what it had answered is there after
// every start. What it had not answered may be there or not.
import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { type BrokerProcess, createInstallation, type Installation } from './installation.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { createRequests, type Requests } from './requests.ts';
import { createRandom, inParallel } from './traffic.ts';

const KILLS = 50;
const WORKERS = 8;
/** A process is killed after so many answers: chosen by chance between these. */
const ANSWERS = { least: 5, most: 60 };
/** Of what was there before the round; what the round itself was answered is looked at whole. */
const SAMPLE = 10;
const ROLES = 20;

describe('kill -9 of a broker on sqlite', function () {
  this.timeout(300_000);
  let installation: Installation;
  before(() => {
    installation = createInstallation('kill-sqlite', 'sqlite');
  });
  after(() => installation.remove());

  it(`loses nothing it has answered, ${KILLS} times`, async () => {
    const startedAt = performance.now();
    const random = createRandom(2);
    await (await installation.start('first')).stop();
    let broker = await installation.start('0');
    const requests = await createRequests(installation, broker);
    const books: Books = {
      ledger: createLedger(requests),
      roles: new Map(),
      statics: new Map(),
      requests,
      lost: [],
    };
    let unanswered = 0;
    for (let kill = 1; kill <= KILLS; kill++) {
      const before = books.ledger.entries.length;
      const answers = ANSWERS.least + Math.floor(random() * (ANSWERS.most - ANSWERS.least));
      unanswered += await runUntilKilled(broker, { books, random, answers });
      broker = await installation.start(String(kill));
      await lookAt(broker, { books, since: before, random });
    }
    const counts = await books.ledger.checkAll(broker);
    console.log(
      `      ${KILLS} kills; answered and found: ${counts.live} live tokens, ${counts.revoked} revocations, ` +
        `${books.roles.size} roles in ${[...books.roles.values()].reduce((sum, one) => sum + one, 0)} versions, ${books.statics.size} static tokens; ` +
        `${unanswered} requests without an answer; ${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
    );
    expect(books.ledger.lies).to.deep.equal([]);
    expect(books.lost).to.deep.equal([]);
    expect(unanswered, 'nothing was under way when it was killed').to.be.above(KILLS / 2);
    for (const count of [counts.live, counts.revoked, books.statics.size])
      expect(count).to.be.above(KILLS);
  });
});

interface Books {
  readonly ledger: Ledger;
  /** Name → the newest version that was answered. */
  readonly roles: Map<string, number>;
  /** Static token → whether its revocation was answered; `unsure` while it was asked for. */
  readonly statics: Map<string, 'live' | 'unsure' | 'revoked'>;
  readonly requests: Requests;
  /** A sentence for each thing that was answered and then was not there. */
  readonly lost: string[];
}

interface Round {
  readonly books: Books;
  readonly random: () => number;
  readonly answers: number;
}

/** Resolves to how many requests got no answer, once the process is gone. */
async function runUntilKilled(broker: BrokerProcess, round: Round): Promise<number> {
  let answered = 0;
  let unanswered = 0;
  let killed: Promise<void> | undefined;
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      while (!killed) {
        if (await act(broker, round)) answered += 1;
        else unanswered += 1;
        // In the middle of what the others have asked for.
        if (answered >= round.answers) killed ??= broker.kill();
      }
    }),
  );
  await killed;
  return unanswered;
}

/** One request of some kind; resolves to whether it was answered. */
function act(broker: BrokerProcess, { books, random }: Round): Promise<boolean> {
  const chance = random();
  if (chance < 0.5) return issue(broker, books, Math.floor(random() * 100));
  if (chance < 0.75) return revoke(broker, books, random);
  if (chance < 0.85) return writeRole(broker, books, random);
  if (chance < 0.95) return makeStatic(broker, books);
  return revokeStatic(broker, books);
}

async function issue(broker: BrokerProcess, books: Books, pod: number): Promise<boolean> {
  const issued = await books.requests.issue(broker, 'opaque', pod);
  if (typeof issued !== 'string') books.ledger.add(issued.token, 'opaque');
  return toAnswered(issued);
}

/** The newest of those that live: a token and its end may fall into one commit, or to either side of a kill. */
async function revoke(
  broker: BrokerProcess,
  { ledger, requests }: Books,
  random: () => number,
): Promise<boolean> {
  if (random() < 0.3) {
    const issued = await requests.issue(broker, 'jwt', 0);
    if (typeof issued === 'string') return toAnswered(issued);
    return toAnswered(await ledger.revoke(ledger.add(issued.token, 'jwt'), broker));
  }
  const entry = ledger.entries.findLast(({ state }) => state === 'live');
  return entry ? toAnswered(await ledger.revoke(entry, broker)) : true;
}

async function writeRole(
  broker: BrokerProcess,
  books: Books,
  random: () => number,
): Promise<boolean> {
  const name = `role-${Math.floor(random() * ROLES)}`;
  const spec = {
    audience: `${name}-audience`,
    subjects: [{ namespace: 'shop', serviceAccount: 'x' }],
    // Another document each time: the same once more is no write.
    token: { ttl: `${60 + Math.floor(random() * 3000)}s` },
  };
  const json = {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name },
    spec,
  };
  const answer = await books.requests.admin(broker, `PUT /api/v1/roles/${name}`, { json });
  if (!answer) return false;
  expect(answer.status, answer.text).to.equal(200);
  const { version } = answer.body.role as { version: number };
  expect(version).to.be.above(0);
  books.roles.set(name, Math.max(version, books.roles.get(name) ?? 0));
  return true;
}

async function makeStatic(broker: BrokerProcess, books: Books): Promise<boolean> {
  const name = `static-${randomUUID()}`;
  const json = { name, policies: ['default'], ttl: '30m' };
  const answer = await books.requests.admin(broker, 'POST /api/v1/tokens', { json });
  if (!answer) return false;
  expect(answer.status, answer.text).to.equal(201);
  books.statics.set(String(answer.body.token), 'live');
  return true;
}

async function revokeStatic(broker: BrokerProcess, { statics, requests }: Books): Promise<boolean> {
  const [bearer] = [...statics].findLast(([, state]) => state === 'live') ?? [];
  if (bearer === undefined) return true;
  statics.set(bearer, 'unsure');
  const answer = await requests.admin(broker, 'DELETE /api/v1/tokens/self', { bearer });
  if (!answer) return false;
  expect(answer.status, answer.text).to.be.oneOf([200, 204]);
  statics.set(bearer, 'revoked');
  return true;
}

/** Everything since `since`, some of what was before, and every role and static token. */
async function lookAt(
  broker: BrokerProcess,
  { books, since, random }: { books: Books; since: number; random: () => number },
): Promise<void> {
  const { ledger, requests, lost } = books;
  const before = Array.from({ length: SAMPLE }, () =>
    ledger.entries.at(Math.floor(random() * since)),
  );
  const tokens = [...before, ...ledger.entries.slice(since)].flatMap((entry) => entry ?? []);
  await inParallel(tokens, async (entry) => {
    const answer = await ledger.check(entry, broker, { isSettled: true });
    if (answer !== 'active' && answer !== 'inactive') lost.push(`a token was ${answer}`);
  });
  const listed = await requests.admin(broker, 'GET /api/v1/roles?limit=1000');
  const found = new Map(
    ((listed?.body.items ?? []) as { name: string; version?: number }[]).map(
      ({ name, version = 0 }) => [name, version],
    ),
  );
  for (const [name, version] of books.roles)
    if ((found.get(name) ?? 0) < version) lost.push(`${name} is not at version ${version}`);
  await inParallel([...books.statics].slice(-SAMPLE), async ([bearer, state]) => {
    const answer = await requests.admin(broker, 'GET /api/v1/whoami', { bearer });
    if (state === 'live' && answer?.status !== 200)
      lost.push(`a static token was answered with ${answer?.status}`);
    if (state === 'revoked' && answer?.status !== 401)
      lost.push(`a revoked static token was answered with ${answer?.status}`);
  });
}

function toAnswered(result: unknown): boolean {
  if (result === 'unavailable') throw new Error('503 of a store that is embedded');
  return result !== 'unanswered';
}
