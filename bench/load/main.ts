// The load, a process of its own so that it can have a core of its own. A job comes as JSON on standard input, the
// result goes as JSON to standard output. Closed loop: as fast as the server answers. With `ratePerSecond`: an open
// loop, where a request that waits for a free connection counts its waiting.
import { readFileSync } from 'node:fs';
import { type Connection, openConnection, type Target } from './connection.ts';
import { type Latencies, summarize } from './latencies.ts';

export interface LoadJob {
  target: Target;
  path: string;
  contentType: string;
  /** Bodies to send in turn, over and over; or a file with a body a line: each used once, or from the top again when `isReused`. */
  body: readonly string[] | { linesFile: string; skip: number; isReused: boolean };
  connections: number;
  seconds: number;
  ratePerSecond?: number;
}

export interface LoadResult {
  requests: number;
  seconds: number;
  perSecond: number;
  latencies: Latencies;
  /** Bodies used, so that the next job can go on behind them. */
  bodiesUsed: number;
}

type NextRequest = () => Buffer | undefined;

async function main(): Promise<void> {
  const job = JSON.parse(readFileSync(0, 'utf8')) as LoadJob;
  const { next, used } = createRequests(job);
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => openConnection(job.target)),
  );
  const times: number[] = [];
  const start = performance.now();
  await (job.ratePerSecond === undefined
    ? runClosedLoop(connections, { next, until: start + job.seconds * 1000, times })
    : runOpenLoop(connections, {
        next,
        start,
        seconds: job.seconds,
        rate: job.ratePerSecond,
        times,
      }));
  const seconds = (performance.now() - start) / 1000;
  if (times.length === 0) throw new Error('there were no bodies left to send');
  for (const connection of connections) connection.close();
  const result: LoadResult = {
    requests: times.length,
    seconds,
    perSecond: times.length / seconds,
    latencies: summarize(times),
    bodiesUsed: used(),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

async function runClosedLoop(
  connections: readonly Connection[],
  { next, until, times }: { next: NextRequest; until: number; times: number[] },
): Promise<void> {
  await Promise.all(
    connections.map(async (connection) => {
      for (let request = next(); request !== undefined; request = next()) {
        const begin = performance.now();
        if (begin >= until) return;
        await sendOne(connection, request);
        times.push(performance.now() - begin);
      }
    }),
  );
}

interface OpenLoop {
  next: NextRequest;
  start: number;
  seconds: number;
  rate: number;
  times: number[];
}

async function runOpenLoop(connections: readonly Connection[], loop: OpenLoop): Promise<void> {
  const free = [...connections];
  const waiting: { request: Buffer; due: number }[] = [];
  const inFlight = new Set<Promise<void>>();
  const dispatch = (): void => {
    while (waiting.length > 0 && free.length > 0) {
      const connection = free.pop() as Connection;
      const { request, due } = waiting.shift() as { request: Buffer; due: number };
      const sent: Promise<void> = sendOne(connection, request).then(() => {
        loop.times.push(performance.now() - due);
        free.push(connection);
        inFlight.delete(sent);
        dispatch();
      });
      inFlight.add(sent);
    }
  };
  const total = loop.rate * loop.seconds;
  for (let scheduled = 0; scheduled < total; ) {
    // Due when the tick fires, not at its ideal time: the timer's own 1 ms steps are not the server's latency.
    const due = performance.now();
    for (; scheduled < Math.min(total, ((due - loop.start) * loop.rate) / 1000); scheduled++) {
      const request = loop.next();
      if (request) waiting.push({ request, due });
    }
    dispatch();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  while (inFlight.size > 0 || waiting.length > 0) await Promise.race(inFlight);
}

async function sendOne(connection: Connection, request: Buffer): Promise<void> {
  const status = await connection.send(request);
  if (status !== 200)
    throw new Error(`the server answered ${status}: the benchmark would measure refusals`);
}

function createRequests(job: LoadJob): { next: NextRequest; used: () => number } {
  const render = (body: string): Buffer =>
    Buffer.from(
      `POST ${job.path} HTTP/1.1\r\nHost: ${job.target.serverName ?? job.target.host}:${job.target.port}\r\n` +
        `Content-Type: ${job.contentType}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  if (!('linesFile' in job.body)) {
    // Rendered once: the load must not be slower than the server.
    const requests = job.body.map(render);
    let sent = 0;
    return { next: () => requests[sent++ % requests.length], used: () => 0 };
  }
  const lines = readFileSync(job.body.linesFile, 'utf8').split('\n').filter(Boolean);
  const { skip, isReused } = job.body;
  let index = skip;
  return {
    next: () => {
      const line = lines[isReused ? index % lines.length : index];
      if (line === undefined) return undefined;
      index++;
      return render(line);
    },
    used: () => index,
  };
}

await main();
