// Admission reviews: the webhook over TLS against a bare HTTPS server that parses the same bodies and answers the
// same size. At full speed, and the latency at 500 reviews/s, which is a large cluster's busy minute.
import { request } from 'node:https';
import { alternate, type Comparison, type Contestant, spreadOf, toRows } from '../alternate.ts';
import { type Bench, startReference, startWebhook } from '../programs.ts';
import { renderReviews } from '../review.ts';
import type { Row } from '../table.ts';
import { SERVER_NAME } from '../workplace.ts';

const PATH = '/mutate';
const MIN_RATIO = 0.6;
const MAX_P99_MS = 3;
const RATE = 500;

export async function measureAdmission(bench: Bench): Promise<readonly Row[]> {
  const { machine, workplace, isQuick } = bench;
  const body = renderReviews();
  const job: Contestant['job'] = {
    target: { host: '127.0.0.1', ca: workplace.ca, serverName: SERVER_NAME },
    path: PATH,
    contentType: 'application/json',
    body,
    connections: 16,
    seconds: 0,
  };
  const patchLength = await findPatchLength(bench, body[0] ?? '');
  const files = [workplace.file('tls.crt'), workplace.file('tls.key'), String(patchLength)];
  const start = {
    ours: () => startWebhook(bench),
    reference: () => startReference(machine, 'https-json.ts', files),
  };
  const full = await alternate(
    machine,
    { ours: { start: start.ours, job }, reference: { start: start.reference, job } },
    isQuick
      ? { rounds: 2, warmUpSeconds: 2, seconds: 1 }
      : { rounds: 5, warmUpSeconds: 12, seconds: 3 },
  );
  const paced = { ...job, ratePerSecond: RATE };
  const steady = await alternate(
    machine,
    { ours: { start: start.ours, job: paced }, reference: { start: start.reference, job: paced } },
    isQuick
      ? { rounds: 1, warmUpSeconds: 2, seconds: 1 }
      : { rounds: 3, warmUpSeconds: 3, seconds: 4 },
  );
  const [speed, ...others] = toRows(full, {
    line: 'admission reviews, 16 connections, TLS',
    unit: 'reviews/s',
    of: 'review',
  });
  const isMet = (speed.ratio ?? 0) >= MIN_RATIO;
  return [{ ...speed, target: '≥ 60 % of the reference', isMet }, ...others, toPacedRow(steady)];
}

function toPacedRow({ ours, reference }: Comparison): Row {
  const p99 = spreadOf(ours, (one) => one.latencies.p99);
  return {
    line: `p99 of admission reviews at ${RATE}/s`,
    unit: 'ms',
    ours: p99,
    reference: spreadOf(reference, (one) => one.latencies.p99),
    target: '≤ 3 ms',
    isMet: p99.median <= MAX_P99_MS,
  };
}

/** Asks the webhook once, so that the reference can answer as many bytes. */
async function findPatchLength(bench: Bench, body: string): Promise<number> {
  const server = await startWebhook(bench);
  try {
    const answer = await post(server.port, bench.workplace.ca, body);
    const { response } = JSON.parse(answer) as { response: { allowed: boolean; patch?: string } };
    if (!response.allowed || response.patch === undefined) {
      throw new Error('the webhook did not inject the benchmark pod');
    }
    return response.patch.length;
  } finally {
    await server.stop();
  }
}

function post(port: number, ca: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
    };
    const options = {
      host: '127.0.0.1',
      servername: SERVER_NAME,
      port,
      path: PATH,
      method: 'POST',
      ca,
      headers,
    };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    });
    sent.on('error', reject).end(body);
  });
}
