// Serves the table of routes: authenticate, authorize, validate, do, record, answer, in that order for every route. No
// CORS anywhere, nothing may be cached.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Request, type Response, Router } from 'express';
import { hasUnreadBody } from '../../../common/http.ts';
import { BrokerError, type Reason } from '../../errors.ts';
import type { Visit } from '../../sources.ts';
import { admit, type Progress, toQuery } from './admit.ts';
import { EVERYWHERE } from './authorization.ts';
import type { AdminCaller } from './caller.ts';
import type { AdminDeps } from './deps.ts';
import { ANSWER_HEADERS, RequestRefused, renderError, toBrokerError } from './errors.ts';
import type { AdminAnswer, AdminRoute } from './route.ts';

/** What the server keeps beside each answer. */
interface RequestLocals {
  correlationId: string;
  route: string;
  /** Where it came from; absent where nobody counts that. */
  visit?: Visit;
}

/** The routes under `/api`; everything else there is 404, and another method of a known path 405. */
export function createAdminRouter(routes: readonly AdminRoute[], deps: AdminDeps): Router {
  const router = Router({ strict: true, caseSensitive: true });
  for (const [path, ofPath] of Map.groupBy(routes, (route) => route.path)) {
    const pattern = path.replace(/\{(\w+)\}/g, ':$1');
    for (const route of ofPath) {
      const method = route.method.toLowerCase() as 'get' | 'post' | 'put' | 'patch' | 'delete';
      router[method](pattern, (request, response) => serve(route, { request, response, deps }));
    }
    router.all(pattern, (request, response) => {
      toLocals(response).route = path;
      response.setHeader('Allow', toAllow(ofPath));
      refuseUnknown(new BrokerError('method_not_allowed'), { request, response, deps });
    });
  }
  router.use('/api', (request, response) => {
    refuseUnknown(new BrokerError('not_found'), { request, response, deps });
  });
  return router;
}

function toAllow(routes: readonly AdminRoute[]): string {
  return routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
}

interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly deps: AdminDeps;
}

async function serve(route: AdminRoute, exchange: Exchange): Promise<void> {
  const { response, deps } = exchange;
  toLocals(response).route = route.path;
  const progress: Progress = {};
  try {
    const answer = await work(route, exchange, progress);
    record(route, exchange, { ...progress, answer });
    send(response, answer.status ?? 200, answer.body);
  } catch (thrown) {
    const error = toBrokerError(thrown);
    if (error.reason === 'bearer_invalid') deps.metrics.countAuthenticationFailure('admin');
    const isRecorded = mayRecord(error, exchange);
    if (isRecorded) record(route, exchange, { ...progress, error });
    refuse(error, exchange, isRecorded);
  } finally {
    progress.release?.();
  }
}

async function work(
  route: AdminRoute,
  { request, response, deps }: Exchange,
  progress: Progress,
): Promise<AdminAnswer> {
  const body = route.needs === 'public' ? {} : await admit(route, { request, deps, progress });
  if (route.needsStore && !deps.store) throw new BrokerError('store_missing');
  // What cannot be recorded must not happen.
  if (route.audited && !deps.audit.isKeepingUp())
    throw new BrokerError('audit_unavailable', 'the audit trail is not being written fast enough');
  const raw = {
    params: request.params as Record<string, string>,
    query: toQuery(request),
    body,
  };
  const call = {
    caller: progress.caller ?? NOBODY,
    reach: progress.reach ?? EVERYWHERE,
    ifMatch: findIfMatch(request, route),
    correlationId: toLocals(response).correlationId,
    keysGeneration: progress.keysGeneration,
  };
  return route.handle(raw, call, deps);
}

/** Of public routes. */
const NOBODY: AdminCaller = { subject: '', policies: [], via: 'client' };
/** RFC 9110 §13.1.1. A condition that is not understood must not be passed over. */
function findIfMatch({ headers }: IncomingMessage, route: AdminRoute): number | undefined {
  const given = headers['if-match'];
  const others = ['if-none-match', 'if-unmodified-since'].filter((name) => name in headers);
  const [, version] = /^"(\d{1,9})"$/.exec(given ?? '') ?? [];
  const isWrong = given !== undefined && (!route.takesIfMatch || version === undefined);
  const isForeign = route.audited && others.length > 0;
  if (isWrong || isForeign) {
    const name = isWrong ? 'If-Match' : (others[0] ?? '');
    const problem = route.takesIfMatch
      ? 'only If-Match with one version in quotes is understood'
      : 'is not understood here';
    throw new RequestRefused('document_invalid', [{ path: name, problem }]);
  }
  return version === undefined ? undefined : Number(version);
}

/** Not let in: who it is is not known, or it may not. */
const STOPPED: readonly Reason[] = ['bearer_invalid', 'bearer_forbidden'];

interface Outcome extends Progress {
  readonly answer?: AdminAnswer;
  readonly error?: BrokerError;
}

/** Every write, and whoever was not let in. */
function record(route: AdminRoute, { request, response, deps }: Exchange, outcome: Outcome): void {
  const { caller, reach, answer, error } = outcome;
  const isStopped = error !== undefined && STOPPED.includes(error.reason);
  if (!route.audited && !isStopped) return;
  deps.audit.recordAdmin({
    time: new Date(deps.clock.now()).toISOString(),
    correlationId: toLocals(response).correlationId,
    outcome: error ? toOutcome(error) : 'allow',
    action: route.operation,
    resource: toResource(route),
    ...(error && { reason: error.reason }),
    ...(error?.detail !== undefined && { detail: error.detail }),
    ...(caller && { subject: caller.subject, via: caller.via }),
    ...(caller?.token && { callerToken: caller.token.accessor ?? caller.token.tokenId }),
    ...toNames(request),
    ...(reach && !reach.everywhere && { namespace: reach.namespace }),
    ...answer?.facts,
  });
}

function toOutcome(error: BrokerError): 'deny' | 'failure' {
  return renderError(error, '').status >= 500 && error.reason !== 'store_missing'
    ? 'failure'
    : 'deny';
}

export function toResource({ needs, path }: AdminRoute): string {
  return typeof needs === 'object' ? needs.resource : (path.split('/')[3] ?? '');
}

/** What stands in the path: a name, an accessor, an id. */
function toNames(request: Request): { name?: string } {
  const [name] = Object.values(request.params as Record<string, string>);
  return name === undefined ? {} : { name: name.slice(0, 256) };
}

function send(response: Response, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { ...ANSWER_HEADERS, 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

/** Charges whoever was not let in, and says whether log and audit are to hear of it: always, unless somebody floods. */
function mayRecord({ reason }: BrokerError, { response }: Exchange): boolean {
  const { visit } = toLocals(response);
  const isUnproven = STOPPED.includes(reason);
  if (isUnproven) visit?.charge();
  return visit?.mayRecord(reason, isUnproven) !== false;
}

/** Nobody was asked who it is: there is nothing at the path. */
function refuseUnknown(error: BrokerError, exchange: Exchange): void {
  const { visit } = toLocals(exchange.response);
  visit?.charge();
  refuse(error, exchange, visit?.mayRecord(error.reason, true) !== false);
}

function refuse(
  error: BrokerError,
  { request, response, deps }: Exchange,
  isRecorded: boolean,
): void {
  const { correlationId } = toLocals(response);
  if (isRecorded) deps.logRefusal(error, correlationId);
  if (response.headersSent || response.destroyed) return;
  const { status, headers, body } = renderError(error, correlationId);
  response.writeHead(status, {
    ...headers,
    'Content-Length': Buffer.byteLength(body),
    ...(hasUnreadBody(request) && { Connection: 'close' }),
  });
  response.end(body);
}

function toLocals(response: ServerResponse): RequestLocals {
  return (response as Response).locals as RequestLocals;
}
