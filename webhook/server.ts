// The one route, `POST /mutate`, on bare node:https: a router and its middleware would cost more than the work itself, and
// there is nothing to route. Every request that arrives whole gets an answer with a body; there is never a 3xx
// (CVE-2020-8561: the API server follows redirects).
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { type Logger, prepareLine } from '../common/log.ts';
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
export function createHandler({ review, metrics, log }: HandlerDeps): RequestListener {
  const deps = { review, metrics, logAnswer: prepareAnswerLog(log) };
  const leave = () => metrics.addInFlight(-1);
  return (request, response) => {
    const refusal = findRefusal(request);
    if (refusal) {
      discard(request, () => {
        metrics.count('bad_request', 0, 0);
        send(response, refusal.body.code, { body: refusal.body, headers: refusal.headers });
      });
      return;
    }
    metrics.addInFlight(1);
    response.on('close', leave);
    readBody(request, (body) => {
      if (body === 'aborted') metrics.count('aborted', 0, 0);
      else if (body === 'too large') answerTooLarge(response, metrics);
      else answerReview(response, body, deps);
    });
  };
}

interface AnswerDeps extends Pick<HandlerDeps, 'review' | 'metrics'> {
  readonly logAnswer: (answer: Answer) => void;
}

interface Refusal {
  readonly body: StatusBody;
  readonly headers?: Readonly<Record<string, string>>;
}

function findRefusal({ url, method, headers }: IncomingMessage): Refusal | undefined {
  // The API server appends ?timeout=….
  if (url !== PATH_MUTATE && !url?.startsWith(`${PATH_MUTATE}?`))
    return { body: toStatusBody(404, 'NotFound', `only ${PATH_MUTATE} is served here`) };
  if (method !== 'POST') {
    return {
      body: toStatusBody(405, 'MethodNotAllowed', 'only POST is answered here'),
      headers: { Allow: 'POST' },
    };
  }
  if (!isJson(headers['content-type'])) {
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

function isJson(type: string | undefined): boolean {
  if (type === undefined || type === 'application/json') return type !== undefined;
  return type.split(';', 1)[0]?.trim().toLowerCase() === 'application/json';
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

function answerTooLarge(response: ServerResponse, metrics: WebhookMetrics): void {
  metrics.count('too_large', 0, 0);
  const message = `the review is larger than ${MAX_BODY_BYTES} bytes`;
  send(response, 413, { body: toStatusBody(413, 'RequestEntityTooLarge', message) });
}

function answerReview(
  response: ServerResponse,
  body: Buffer,
  { review, metrics, logAnswer }: AnswerDeps,
): void {
  // A measurement, not a decision: a Clock's milliseconds are too coarse for it.
  const start = performance.now();
  const answer = review(body);
  send(response, answer.status, { body: answer.body });
  metrics.count(answer.outcome, (performance.now() - start) / 1000, answer.warnings.length);
  logAnswer(answer);
}

const FACTS = ['uid', 'namespace', 'pod', 'dryRun'] as const;

/** What is said of each answer. The lines of pods that came through are written most, and so prepared. */
function prepareAnswerLog(log: Logger): (answer: Answer) => void {
  const injected = prepareLine(log, {
    level: 'info',
    message: 'pod injected',
    names: [...FACTS, 'warnings'],
  });
  const unchanged = prepareLine(log, { level: 'debug', message: 'pod unchanged', names: FACTS });
  return (answer) => {
    const { outcome, facts, warnings } = answer;
    if (outcome === 'injected') {
      const { uid, namespace, pod, dryRun } = facts;
      injected({ uid, namespace, pod, dryRun, warnings: warnings.length });
    } else if (outcome === 'unchanged') unchanged(facts);
    else logOther(answer, log);
  };
}

function logOther({ outcome, facts, denials, error }: Answer, log: Logger): void {
  if (outcome === 'failed') log.error({ ...facts, err: error }, 'review failed');
  else if (outcome === 'not_matched')
    log.warn(facts, 'review of something that is not the creation of a pod');
  else {
    // Each once: one pod may have thousands.
    const codes = [...new Set(denials.map(({ code }) => code))];
    log.info({ ...facts, codes }, 'pod denied');
  }
}

/**
 * The JSON of an answer. A patch is base64, which needs no escaping and is nearly all of the answer: it is put in as it is,
 * where stringifying would look at each character.
 */
export function toText(body: AdmissionReview | StatusBody): string {
  if (!('response' in body) || body.request !== undefined) return JSON.stringify(body);
  const { apiVersion, kind, response } = body;
  if (response?.patch === undefined || response.status || response.auditAnnotations)
    return JSON.stringify(body);
  const { uid, allowed, warnings, patchType, patch } = response;
  const said = warnings === undefined ? '' : `,"warnings":${JSON.stringify(warnings)}`;
  const type = patchType === undefined ? '' : `,"patchType":"${patchType}"`;
  return `{"apiVersion":"${apiVersion}","kind":"${kind}","response":{"uid":${JSON.stringify(uid)},"allowed":${allowed}${said}${type},"patch":"${patch}"}}`;
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
