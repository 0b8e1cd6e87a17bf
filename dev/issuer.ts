// The local issuer: answers like an API server where ServiceAccount tokens are concerned (TokenRequest, TokenReview,
// keys, discovery, the death of pods), with no cluster behind it. For laptops, `make demo` and tests: it asks nobody
// who they are, so it is never offered but on loopback.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { type Clock, systemClock } from '../common/clock.ts';
import { createIssuerKey, type IssuerKey } from './issuer/keys.ts';
import { LocalObjects, toPodObject } from './issuer/objects.ts';
import { badRequest, KubeError, methodNotAllowed, unknownPath } from './issuer/status.ts';
import { requestToken } from './issuer/token-request.ts';
import { reviewToken } from './issuer/token-review.ts';
import { type Answer, readJsonBody, sendAnswer } from './issuer/wire.ts';

/** Where the local issuer lives on the dev server. Its `iss` ends in it, so that every token shows where it is from. */
export const ISSUER_PATH = '/dev/kube';

/** What the issuer's parts share. */
export interface IssuerContext {
  readonly issuer: string;
  /** What a token without an audience is for, and a review without one asks: kube-apiserver defaults it to the issuer. */
  readonly apiAudiences: readonly string[];
  readonly key: IssuerKey;
  readonly objects: LocalObjects;
  readonly clock: Clock;
  readonly newUid: () => string;
  /** Told of each death before it is answered, as a controller would. */
  readonly onPodDeath: (uid: string) => Promise<void>;
}

export interface LocalIssuer {
  readonly issuer: string;
  readonly kid: string;
  /** Answers every path below {@link ISSUER_PATH}. */
  readonly handler: RequestListener;
}

export interface LocalIssuerOptions {
  /** Scheme, host and port under which {@link ISSUER_PATH} is served; no trailing slash. */
  baseUrl: string;
  clock?: Clock;
  newUid?: () => string;
  onPodDeath?: IssuerContext['onPodDeath'];
  /** One of its own unless given: making one takes a tenth of a second. */
  key?: IssuerKey;
}

/** Creates an issuer; nothing of it outlives the process. */
export function createLocalIssuer({
  baseUrl,
  clock,
  newUid,
  onPodDeath,
  key,
}: LocalIssuerOptions): LocalIssuer {
  const issuer = `${baseUrl}${ISSUER_PATH}`;
  const context: IssuerContext = {
    issuer,
    apiAudiences: [issuer],
    key: key ?? createIssuerKey(),
    objects: new LocalObjects(newUid ?? randomUUID),
    clock: clock ?? systemClock,
    newUid: newUid ?? randomUUID,
    onPodDeath: onPodDeath ?? (() => Promise.resolve()),
  };
  return {
    issuer,
    kid: context.key.kid,
    handler: (request, response) => {
      answer(context, request).then(
        (result) => sendAnswer(response, result),
        (error: unknown) => sendFailure(response, error),
      );
    },
  };
}

interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (
    context: IssuerContext,
    path: PathNames,
    request: IncomingMessage,
  ) => Answer | Promise<Answer>;
}

interface PathNames {
  namespace: string;
  name: string;
}

const PODS = '/api/v1/namespaces/(?<namespace>[^/]+)/pods';
const ACCOUNTS = '/api/v1/namespaces/(?<namespace>[^/]+)/serviceaccounts';

const ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: /^\/\.well-known\/openid-configuration$/,
    handle: ({ issuer }) => ({
      code: 200,
      body: {
        issuer,
        jwks_uri: `${issuer}/openid/v1/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256'],
      },
    }),
  },
  {
    method: 'GET',
    path: /^\/openid\/v1\/jwks$/,
    handle: ({ key }) => ({ code: 200, body: key.jwks, contentType: 'application/jwk-set+json' }),
  },
  {
    method: 'POST',
    path: new RegExp(`^${ACCOUNTS}/(?<name>[^/]+)/token$`),
    handle: async (context, { namespace, name }, request) => ({
      code: 201,
      body: requestToken(context, { namespace, serviceAccount: name }, await readJsonBody(request)),
    }),
  },
  {
    method: 'POST',
    path: /^\/apis\/authentication\.k8s\.io\/v1\/tokenreviews$/,
    handle: async (context, _path, request) => ({
      code: 201,
      body: reviewToken(context, await readJsonBody(request)),
    }),
  },
  {
    method: 'GET',
    path: new RegExp(`^${PODS}$`),
    handle: ({ objects }, { namespace }) => ({
      code: 200,
      body: {
        kind: 'PodList',
        apiVersion: 'v1',
        metadata: {},
        items: objects.listPods(namespace).map((pod) => toPodObject(pod, objects.node.name)),
      },
    }),
  },
  {
    method: 'GET',
    path: new RegExp(`^${PODS}/(?<name>[^/]+)$`),
    handle: ({ objects }, { namespace, name }) => ({
      code: 200,
      body: toPodObject(objects.getPod(namespace, name), objects.node.name),
    }),
  },
  {
    method: 'DELETE',
    path: new RegExp(`^${PODS}/(?<name>[^/]+)$`),
    handle: async ({ objects, onPodDeath }, { namespace, name }) => {
      const pod = objects.deletePod(namespace, name);
      await onPodDeath(pod.uid);
      return { code: 200, body: toPodObject(pod, objects.node.name) };
    },
  },
];

async function answer(context: IssuerContext, request: IncomingMessage): Promise<Answer> {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const rest = path.startsWith(`${ISSUER_PATH}/`) ? path.slice(ISSUER_PATH.length) : '';
  const matching = ROUTES.filter((route) => route.path.test(rest));
  if (matching.length === 0) throw unknownPath();
  const route = matching.find(({ method }) => method === request.method);
  if (route === undefined) throw methodNotAllowed();
  const { namespace = '', name = '' } = route.path.exec(rest)?.groups ?? {};
  checkName('namespace', namespace, /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$/);
  checkName('name', name, /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/);
  return route.handle(context, { namespace, name }, request);
}

/** A name no API server would have accepted must not end up in a token. */
function checkName(what: string, value: string, pattern: RegExp): void {
  if (!pattern.test(value)) {
    throw badRequest(
      `the ${what} in the path must consist of lower case alphanumeric characters or '-'${what === 'name' ? " or '.'" : ''}, and start and end with an alphanumeric character`,
    );
  }
}

function sendFailure(response: ServerResponse, error: unknown): void {
  const { status } =
    error instanceof KubeError
      ? error
      : new KubeError({ code: 500, reason: 'InternalError', message: 'Internal error occurred' });
  sendAnswer(response, { code: status.code, body: status });
}
