// The one route, `POST /mutate`, on bare node:https: a router and its middleware would cost more than the work itself, and
// there is nothing to route. Every request that arrives whole gets an answer with a body; there is never a 3xx
// (CVE-2020-8561: the API server follows redirects).
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Logger } from '../common/log.ts';
import type { AdmissionReview } from '../common/protocol/admission.ts';
import type { WebhookMetrics } from './metrics.ts';
import type { Answer, StatusBody } from './review.ts';
import { toStatusBody } from './review.ts';

export const PATH_MUTATE = '/mutate';

// The API server takes objects up to 3 MiB; a review may hold one twice and JSON escapes it.
export const MAX_BODY_BYTES = 6 * 1024 * 1024;
// A larger body is read and thrown away up to here, so that its sender reads the 413 instead of a reset connection.
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;

export interface HandlerDeps {
  readonly review: (body: Uint8Array) => Answer;
  readonly metrics: WebhookMetrics;
  readonly log: Logger;
}

/** The request handler of the webhook's server. */
export function createHandler(deps: HandlerDeps): RequestListener {
  return (request, response) => {
    const refusal = findRefusal(request);
    if (refusal) {
      discard(request, () => {
        deps.metrics.count('bad_request', 0, 0);
        send(response, refusal.body.code, { body: refusal.body, headers: refusal.headers });
      });
      return;
    }
    deps.metrics.addInFlight(1);
    response.once('close', () => deps.metrics.addInFlight(-1));
    readBody(request, (body) => {
      if (body === 'aborted') deps.metrics.count('aborted', 0, 0);
      else if (body === 'too large') answerTooLarge(response, deps);
      else answerReview(response, body, deps);
    });
  };
}

interface Refusal {
  readonly body: StatusBody;
  readonly headers?: Readonly<Record<string, string>>;
}

function findRefusal({ url, method, headers }: IncomingMessage): Refusal | undefined {
  // The API server appends ?timeout=….
  const path = (url ?? '').split('?', 1)[0];
  if (path !== PATH_MUTATE)
    return { body: toStatusBody(404, 'NotFound', `only ${PATH_MUTATE} is served here`) };
  if (method !== 'POST') {
    return {
      body: toStatusBody(405, 'MethodNotAllowed', 'only POST is answered here'),
      headers: { Allow: 'POST' },
    };
  }
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    return {
      body: toStatusBody(415, 'UnsupportedMediaType', 'the content type must be application/json'),
    };
  }
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    return {
      body: toStatusBody(415, 'UnsupportedMediaType', 'the content encoding must be identity'),
    };
  }
  return undefined;
}

/** Reads a body of at most {@link MAX_BODY_BYTES}; calls `done` once. */
function readBody(
  request: IncomingMessage,
  done: (body: Buffer | 'too large' | 'aborted') => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0;
    if (bytes > MAX_DISCARDED_BYTES) request.destroy();
  });
  request.once('end', () => done(bytes > MAX_BODY_BYTES ? 'too large' : join(chunks, bytes)));
  request.once('error', () => done('aborted'));
}

/** Nearly every review is one TLS record, and so one chunk: no copy then. */
function join(chunks: readonly Buffer[], bytes: number): Buffer {
  const [only] = chunks;
  return only && chunks.length === 1 ? only : Buffer.concat(chunks, bytes);
}

/** Reads a body that nobody wants to its end. */
function discard(request: IncomingMessage, done: () => void): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_DISCARDED_BYTES) request.destroy();
  });
  request.once('end', done);
  request.once('error', () => undefined);
}

function answerTooLarge(response: ServerResponse, { metrics }: HandlerDeps): void {
  metrics.count('too_large', 0, 0);
  const message = `the review is larger than ${MAX_BODY_BYTES} bytes`;
  send(response, 413, { body: toStatusBody(413, 'RequestEntityTooLarge', message) });
}

function answerReview(
  response: ServerResponse,
  body: Buffer,
  { review, metrics, log }: HandlerDeps,
): void {
  // A measurement, not a decision: a Clock's milliseconds are too coarse for it.
  const start = performance.now();
  const answer = review(body);
  send(response, answer.status, { body: answer.body });
  metrics.count(answer.outcome, (performance.now() - start) / 1000, answer.warnings.length);
  logAnswer(answer, log);
}

function logAnswer({ outcome, facts, denials, warnings, error }: Answer, log: Logger): void {
  // Each once: one pod may have thousands.
  const codes = [...new Set(denials.map(({ code }) => code))];
  if (outcome === 'failed') log.error({ ...facts, err: error }, 'review failed');
  else if (outcome === 'denied' || outcome === 'bad_review')
    log.info({ ...facts, codes }, 'pod denied');
  else if (outcome === 'not_matched')
    log.warn(facts, 'review of something that is not the creation of a pod');
  else if (outcome === 'injected')
    log.info({ ...facts, warnings: warnings.length }, 'pod injected');
  else log.debug(facts, 'pod unchanged');
}

const EMPTY_PATCH = '"patch":""';

/**
 * The JSON of an answer. A patch is base64, which needs no escaping and is nearly all of the answer: it is put in as it is,
 * where stringifying would look at each character. Inside a JSON string every quote has its backslash, so that
 * `"patch":""` can stand in one place only.
 */
export function toText(body: AdmissionReview | StatusBody): string {
  const response = 'response' in body ? body.response : undefined;
  const patch = response?.patch;
  if (response === undefined || patch === undefined) return JSON.stringify(body);
  const text = JSON.stringify({ ...body, response: { ...response, patch: '' } });
  const at = text.indexOf(EMPTY_PATCH) + EMPTY_PATCH.length - 1;
  return text.slice(0, at) + patch + text.slice(at);
}

function send(
  response: ServerResponse,
  status: number,
  {
    body,
    headers,
  }: { body: AdmissionReview | StatusBody; headers?: Readonly<Record<string, string>> | undefined },
): void {
  // A string goes out in one write with the head, a Buffer in a second one; and Latin-1 without being encoded, which is
  // right for ASCII alone.
  const text = toText(body);
  const length = Buffer.byteLength(text);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': length,
    ...headers,
  });
  response.end(text, length === text.length ? 'latin1' : 'utf8');
}
