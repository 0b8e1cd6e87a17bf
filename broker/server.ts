// The broker's HTTP face: the hot route first, metadata, then typed answers for whatever is left. One error handler, and
// a correlation id of our own on every answer.
import type { RequestListener, ServerResponse } from 'node:http';
import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import type { Clock } from '../common/clock.ts';
import { hasUnreadBody } from '../common/http.ts';
import type { Logger } from '../common/log.ts';
import {
  HEADER_REQUEST_ID,
  PATH_INTROSPECT,
  PATH_REVOKE,
  PATH_TOKEN,
} from '../common/protocol/oauth.ts';
import { NO_TRACING, type RequestFacts, type Tracing } from '../common/tracing.ts';
import type { RequestContext } from './desk.ts';
import { renderError } from './dialects/oauth/errors.ts';
import type { Endpoint } from './dialects/oauth/introspection-endpoint.ts';
import {
  METADATA_MAX_AGE_SECONDS,
  METADATA_PATHS,
  type MetadataDocument,
  type MetadataPath,
} from './dialects/oauth/metadata.ts';
import type { TokenEndpoint } from './dialects/oauth/token-endpoint.ts';
import { BrokerError, REASONS, type Reason } from './errors.ts';
import type { Metrics } from './metrics.ts';
import { type Sources, TurnedAway, type Visit } from './sources.ts';

export interface ServerDeps {
  readonly tokenEndpoint: TokenEndpoint;
  readonly introspectionEndpoint: Endpoint;
  readonly revocationEndpoint: Endpoint;
  readonly findMetadata: (path: MetadataPath) => MetadataDocument;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  readonly newCorrelationId: () => string;
  /** Absent: nobody is too many. */
  readonly sources?: Sources;
  /** Absent: no traces. */
  readonly tracing?: Tracing;
  /** Everything below `/api`; absent where it has a listener of its own. */
  readonly admin?: RequestHandler | undefined;
}

/** The express application; `next` is called for nothing, every request is answered here. */
export function createApp(deps: ServerDeps): RequestListener {
  const app = createEmptyApp(deps);
  const endpoints: readonly (readonly [string, Endpoint])[] = [
    [PATH_TOKEN, deps.tokenEndpoint],
    [PATH_INTROSPECT, deps.introspectionEndpoint],
    [PATH_REVOKE, deps.revocationEndpoint],
  ];
  for (const [path, endpoint] of endpoints) {
    app.post(path, (request, response) => {
      setRoute(response, path);
      const visit = deps.sources?.admit(request, response);
      // Nothing waits where nobody floods, not even for its turn.
      return visit instanceof Promise
        ? serveLate(visit, { request, response, endpoint })
        : endpoint(request, response, getContext(response, 'oauth', visit));
    });
  }
  for (const path of METADATA_PATHS) {
    app.get(path, (_request, response) => sendMetadata(response, path, deps.findMetadata(path)));
    app.options(path, (_request, response) => sendPreflight(response, path));
    app.all(path, (_request, response) => refuseMethod(response, path, 'GET, HEAD, OPTIONS'));
  }
  for (const [path] of endpoints)
    app.all(path, (_request, response) => refuseMethod(response, path, 'POST'));
  if (deps.admin) app.use('/api', createDoor(deps)).use(deps.admin);
  return finish(app, deps);
}

/** The application of a listener that serves the admin API alone. */
export function createAdminApp(admin: RequestHandler, deps: FrameDeps): RequestListener {
  const app = createEmptyApp(deps);
  app.use('/api', createDoor(deps)).use(admin);
  return finish(app, deps);
}

type FrameDeps = Pick<
  ServerDeps,
  'metrics' | 'log' | 'clock' | 'newCorrelationId' | 'tracing' | 'sources'
>;

async function serveLate(
  coming: Promise<Visit>,
  { request, response, endpoint }: { request: Request; response: Response; endpoint: Endpoint },
): Promise<void> {
  const visit = await coming;
  // Whoever hung up while it waited.
  if (response.destroyed) return;
  await endpoint(request, response, getContext(response, 'oauth', visit));
}

/** Before the admin API, which finds the visit beside the answer. */
function createDoor({ sources }: FrameDeps): RequestHandler {
  return async (request, response, next) => {
    const visit = await sources?.admit(request, response);
    if (response.destroyed) return;
    (response.locals as Locals).visit = visit;
    next();
  };
}

function createEmptyApp(deps: FrameDeps): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.set('query parser', false).set('strict routing', true).set('case sensitive routing', true);
  app.use((request, response, next) => {
    begin(request, response, deps);
    next();
  });
  return app;
}

/** What no route took is answered here. */
function finish(app: Express, { log, tracing = NO_TRACING }: FrameDeps): RequestListener {
  app.use(() => {
    throw new BrokerError('not_found');
  });
  app.use(createErrorHandler(log));
  return (request, response) => {
    request.url = toOriginForm(request.url ?? '/');
    if (!tracing.isOn) app(request, response);
    else
      tracing.serve({ request, response, getFacts: () => toFacts(response) }, () =>
        app(request, response),
      );
  };
}

function toFacts(response: ServerResponse): RequestFacts {
  const { route, correlationId } = (response as Response).locals as Locals;
  return { route, correlationId, status: toStatus(response) };
}

/** A caller that went away before its answer: Node has a 200 there that nobody gave. 499 is what nginx calls it. */
function toStatus({ headersSent, statusCode }: ServerResponse): number {
  return headersSent ? statusCode : 499;
}

/**
 * RFC 9112 §3.2.2: a server takes the absolute form too, and no authority of a caller's says who we are. Express would
 * give such a target to `url.parse`, which warns about hosts that are none, and will throw.
 */
function toOriginForm(target: string): string {
  if (target.startsWith('/')) return target;
  const rest = target.replace(/^https?:\/\/[^/?#]*/i, '');
  return rest.startsWith('/') ? rest : `/${rest}`;
}

interface Locals {
  correlationId: string;
  callerRequestId?: string;
  visit?: Visit | undefined;
  /** One of our own patterns: a label must not be what a caller writes. */
  route: string;
}

function begin(
  request: Request,
  response: Response,
  { metrics, clock, newCorrelationId }: FrameDeps,
): void {
  const locals = response.locals as Locals;
  locals.correlationId = newCorrelationId();
  locals.route = 'other';
  const given = request.headers[HEADER_REQUEST_ID.toLowerCase()];
  // Never our id: a caller could otherwise make two decisions look like one.
  if (typeof given === 'string')
    locals.callerRequestId = given.slice(0, 64).replace(/[^\w.:-]/g, '?');
  response.setHeader(HEADER_REQUEST_ID, locals.correlationId);
  const startedAt = clock.now();
  response.once('close', () => {
    metrics.observeRequest(locals.route, toStatus(response), (clock.now() - startedAt) / 1000);
  });
}

function getContext(response: Response, dialect: string, visit: Visit | undefined): RequestContext {
  const locals = response.locals as Locals;
  locals.visit = visit;
  const { correlationId, callerRequestId } = locals;
  return {
    correlationId,
    dialect,
    ...(callerRequestId !== undefined && { callerRequestId }),
    ...(visit && { visit }),
  };
}

function setRoute(response: Response, route: string): void {
  (response.locals as Locals).route = route;
}

/** Public documents: any page may read them, caches may keep them. */
function sendMetadata(
  response: Response,
  path: MetadataPath,
  { contentType, body }: MetadataDocument,
): void {
  setRoute(response, path);
  response.writeHead(200, {
    'Content-Type': contentType,
    'Content-Length': body.length,
    'Cache-Control': `public, max-age=${METADATA_MAX_AGE_SECONDS}`,
    'Access-Control-Allow-Origin': '*',
  });
  // Node drops the body of an answer to HEAD.
  response.end(body);
}

function sendPreflight(response: Response, path: MetadataPath): void {
  setRoute(response, path);
  response.writeHead(204, {
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Methods': 'GET, HEAD',
    'Access-Control-Max-Age': '86400',
  });
  response.end();
}

function refuseMethod(response: Response, path: string, allow: string): never {
  setRoute(response, path);
  response.setHeader('Allow', allow);
  throw new BrokerError('method_not_allowed');
}

function createErrorHandler(log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    const { correlationId, visit } = response.locals as Locals;
    const reason = error instanceof BrokerError ? error.reason : toReason(error);
    const { level } = REASONS[reason];
    if (level !== 'info' && mayLog(error, reason, visit))
      log[level]({ correlationId, reason, err: error }, 'request failed');
    if (response.headersSent || response.destroyed) return next(error);
    const { status, headers, body } = renderError({
      reason,
      correlationId,
      ...(error instanceof BrokerError && { retryAfterSeconds: error.retryAfterSeconds }),
      // RFC 9110 §11.6.1: a 401 always says how to authenticate.
      usedAuthorization:
        reason === 'client_unauthenticated' || request.headers.authorization !== undefined,
    });
    response.writeHead(status, {
      ...headers,
      'Content-Length': Buffer.byteLength(body),
      ...(hasUnreadBody(request) && { Connection: 'close' }),
    });
    response.end(body);
  };
}

/** Floods are counted, not written down one by one (sources.ts). */
function mayLog(error: unknown, reason: Reason, visit: Visit | undefined): boolean {
  return !(error instanceof TurnedAway) && visit?.mayRecord(reason, false) !== false;
}

/** Express's own refusals (a path that is not percent-encoded) carry a 4xx; anything else is our fault. */
function toReason(error: unknown): 'not_found' | 'internal' {
  const status = (error as { status?: unknown } | null)?.status;
  return typeof status === 'number' && status >= 400 && status < 500 ? 'not_found' : 'internal';
}
