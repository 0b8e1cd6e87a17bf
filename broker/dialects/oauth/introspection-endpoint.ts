// POST /oauth2/introspect (RFC 7662): a receiver asks whether a token of ours lives. It hears about tokens of its own
// audiences and about no others; a ServiceAccount token is none of ours and never looked at.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../../common/log.ts';
import type { Authenticate } from '../../callers.ts';
import type { RequestContext } from '../../desk.ts';
import { BrokerError, REASONS } from '../../errors.ts';
import type { Metrics } from '../../metrics.ts';
import type { Receivers } from '../../receivers.ts';
import type { LiveToken, LiveTokens } from '../../tokens/live.ts';
import { type Form, readForm } from './form.ts';
import { checkRepeated, findSingle, getSingle } from './parameters.ts';

export interface IntrospectionDeps {
  readonly authenticate: Authenticate;
  readonly findReceivers: () => Receivers | undefined;
  readonly tokens: LiveTokens;
  readonly metrics: Pick<Metrics, 'countIntrospection'>;
  readonly log: Logger;
}

export type Endpoint = (
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
) => Promise<void>;

// RFC 7009 §2.2 lets servers define further hints; whatever it says, it is not needed to find a token.
const HINT = /^[\x21-\x7e]{1,64}$/;
const INACTIVE = JSON.stringify({ active: false });

/** Failures are thrown: the server's one error handler renders them. */
export function createIntrospectionEndpoint(deps: IntrospectionDeps): Endpoint {
  return async (request, response, context) => {
    try {
      const token = await introspect(request, deps);
      deps.metrics.countIntrospection(token ? 'active' : 'inactive');
      if (!response.destroyed) send(response, token);
    } catch (error) {
      throw recordRefusal(error, { ...deps, context });
    }
  };
}

async function introspect(
  request: IncomingMessage,
  { authenticate, findReceivers, tokens }: IntrospectionDeps,
): Promise<LiveToken | undefined> {
  const form = await readForm(request);
  checkRepeated(form);
  const { authorization } = request.headers;
  const caller = await authenticate({ authorization, form });
  const token = getSingle(form, 'token');
  checkHint(form);
  const live = await tokens.findLive(token);
  if (live?.audience === undefined) return undefined;
  return findReceivers()?.mayAsk(caller, live.audience) ? live : undefined;
}

/** @throws BrokerError `parameter_invalid` */
export function checkHint(form: Form): void {
  const hint = findSingle(form, 'token_type_hint');
  if (hint !== undefined && !HINT.test(hint))
    throw new BrokerError('parameter_invalid', 'token_type_hint is not a short word');
}

function send(response: ServerResponse, token: LiveToken | undefined): void {
  const body = token
    ? // A role may have claims of these names; what they say here is for us to say.
      JSON.stringify({ ...token.claims, active: true, token_type: 'Bearer' })
    : INACTIVE;
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Cache-Control': 'no-store',
    Pragma: 'no-cache',
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(body);
}

/** Introspections leave no audit record, they are too many; whoever was refused finds the reason in the log. */
function recordRefusal(
  error: unknown,
  { metrics, log, context }: IntrospectionDeps & { context: RequestContext },
): unknown {
  if (!(error instanceof BrokerError)) {
    metrics.countIntrospection('failure');
    return error;
  }
  const { reason, detail } = error;
  const { level } = REASONS[reason];
  metrics.countIntrospection(level === 'info' ? 'refused' : 'failure');
  const { correlationId, callerRequestId, visit } = context;
  const isUnproven = level === 'info';
  if (isUnproven) visit?.charge();
  if (isUnproven && visit?.mayRecord(reason, isUnproven) !== false)
    log.info({ correlationId, reason, detail, callerRequestId }, 'introspection refused');
  return error;
}
