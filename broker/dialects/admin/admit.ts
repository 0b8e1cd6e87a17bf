// Letting a caller in: who it is, then whether it may, and only then the body. Nothing of a request is validated for
// somebody who may not make it.
import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { BrokerError } from '../../errors.ts';
import { authorizeCaller, authorizeController, type Reach } from './authorization.ts';
import { MAX_BODY_BYTES, readJson } from './body.ts';
import type { AdminCaller } from './caller.ts';
import type { AdminDeps } from './deps.ts';
import { toBrokerError } from './errors.ts';
import type { AdminRoute } from './route.ts';

/** What is known of a request when it ends, well or not. */
export interface Progress {
  caller?: AdminCaller;
  reach?: Reach;
  /** Of the cluster in the path, before its controller was authenticated: under keys that may change since. */
  keysGeneration?: number;
  /** To be called when the request has ended. */
  release?: () => void;
}

/**
 * Fills `progress` as far as it comes.
 * @returns the body, not yet checked
 * @throws BrokerError `bearer_invalid`, `bearer_forbidden`, what {@link readJson} throws, or that nobody can say
 */
export async function admit(
  route: AdminRoute,
  { request, deps, progress }: { request: Request; deps: AdminDeps; progress: Progress },
): Promise<unknown> {
  const { needs } = route;
  if (needs === 'public') return {};
  const { name } = request.params as { readonly name?: string };
  if (needs === 'controller')
    progress.keysGeneration = deps.clusterRegistry.keysGeneration(name ?? '');
  progress.caller = await authenticate(request, deps);
  if (needs === 'controller') {
    progress.reach = authorizeController(progress.caller, name ?? '', deps.clusters);
    if ((route.maxBodyBytes ?? 0) > MAX_BODY_BYTES)
      progress.release = occupy(deps.longReports, name ?? '');
    return readJson(request, route.maxBodyBytes);
  }
  const query = toQuery(request);
  const early = isNamespaceInBody(route, query) ? await peekBody(request) : undefined;
  const asked = {
    needs,
    namespace: query.get('namespace') ?? findNamespace(early),
    ownCluster: deps.ownCluster,
  };
  progress.reach = await authorizeCaller(progress.caller, asked, deps.capabilities);
  if (!early) return route.body ? readJson(request, route.maxBodyBytes) : {};
  if ('error' in early) throw early.error;
  return early.body;
}

/** One at a time of each cluster: a controller that was taken over must not fill the memory that all clusters share. */
function occupy(longReports: Set<string>, cluster: string): () => void {
  if (longReports.has(cluster))
    throw new BrokerError('too_many_requests', 'a complete set of this cluster is under way', {
      retryAfterSeconds: 5,
    });
  longReports.add(cluster);
  return () => void longReports.delete(cluster);
}

/** A right for one namespace alone can also be meant by the body; it is then read, and not yet looked into. */
function isNamespaceInBody({ needs, body }: AdminRoute, query: URLSearchParams): boolean {
  return (
    typeof needs === 'object' && needs.namespaced === true && !!body && !query.has('namespace')
  );
}

type Peeked = { readonly body: unknown } | { readonly error: unknown };

async function peekBody(request: IncomingMessage): Promise<Peeked> {
  try {
    return { body: await readJson(request) };
  } catch (error) {
    return { error };
  }
}

function findNamespace(peeked: Peeked | undefined): string | undefined {
  if (!peeked || 'error' in peeked) return undefined;
  const { namespace } = Object(peeked.body) as { namespace?: unknown };
  return typeof namespace === 'string' ? namespace : undefined;
}

/** Failures of ours on the way to knowing the caller; everything else is an invalid credential. */
const OURS = ['store_unavailable', 'kube_unavailable', 'keys_unavailable', 'too_many_requests'];

async function authenticate(request: IncomingMessage, deps: AdminDeps): Promise<AdminCaller> {
  try {
    return await deps.authenticate(request);
  } catch (thrown) {
    const error = toBrokerError(thrown);
    if (OURS.includes(error.reason)) throw error;
    if (thrown instanceof BrokerError && thrown.reason !== 'internal')
      throw new BrokerError('bearer_invalid', `${thrown.reason}: ${thrown.message}`);
    throw error;
  }
}

/** Express parses none: a parameter that is given twice must be seen. */
export function toQuery(request: Request): URLSearchParams {
  const at = request.url.indexOf('?');
  return new URLSearchParams(at === -1 ? '' : request.url.slice(at + 1));
}
