// TokenReview (authentication.k8s.io/v1): the same checks in the same order as kube-apiserver's authenticator for bound
// ServiceAccount tokens, with its wording in `status.error`.
import type { IssuerContext } from '../issuer.ts';
import { badRequest } from './status.ts';
import { isRecord, isTextList, parseObject } from './wire.ts';

// go-jose's default, which kube-apiserver leaves as it is.
const LEEWAY_SECONDS = 60;
const EXTRA = 'authentication.kubernetes.io';

type Verdict =
  | { ok: true; user: object; audiences: readonly string[] }
  | { ok: false; error: string };

/**
 * Answers one TokenReview. Unlike kube-apiserver the answer does not echo the token.
 * @throws KubeError 400
 */
export function reviewToken(context: IssuerContext, body: unknown): object {
  const { spec } = parseObject(body, 'TokenReview');
  const { token = '', audiences = [] } = isRecord(spec) ? spec : {};
  if (typeof token !== 'string' || !isTextList(audiences)) {
    throw badRequest('spec.token must be a string and spec.audiences a list of strings');
  }
  if (token === '') throw badRequest('token is required for TokenReview in authentication');
  const requested = audiences.length > 0 ? audiences : context.apiAudiences;
  const verdict = authenticate(context, token, requested);
  return {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: null },
    spec: { ...(audiences.length > 0 && { audiences }) },
    // kube-apiserver leaves `authenticated` out where it is false.
    status: verdict.ok
      ? { authenticated: true, user: verdict.user, audiences: verdict.audiences }
      : { user: {}, error: verdict.error },
  };
}

function authenticate(
  context: IssuerContext,
  token: string,
  requested: readonly string[],
): Verdict {
  const parsed = parseToken(token);
  if (parsed === undefined || parsed.claims.iss !== context.issuer) {
    return { ok: false, error: 'invalid bearer token' };
  }
  const { header, claims } = parsed;
  if (header.kid !== undefined && header.kid !== context.key.kid) {
    return refuse('invalid signature, no keys found');
  }
  if (header.alg !== 'RS256' || !context.key.isSigned(token)) {
    return refuse('go-jose/go-jose: error in cryptographic primitive');
  }
  const own = toList(claims.aud);
  const shared = own.filter((audience) => requested.includes(audience));
  if (shared.length === 0) {
    return refuse(
      `token audiences ${quote(own)} is invalid for the target audiences ${quote(requested)}`,
    );
  }
  return checkLife(context, claims) ?? { ok: true, user: toUser(claims), audiences: shared };
}

/** The claims our own key signed: their shape is what token-request.ts wrote. */
interface Claims {
  iss: string;
  sub: string;
  aud: string | readonly string[];
  exp: number;
  nbf: number;
  jti: string;
  'kubernetes.io': {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    node?: { name: string; uid: string };
  };
}

function checkLife(context: IssuerContext, claims: Claims): Verdict | undefined {
  const now = context.clock.now() / 1000;
  if (now - LEEWAY_SECONDS > claims.exp) return refuse('service account token has expired');
  if (now + LEEWAY_SECONDS < claims.nbf) return refuse('service account token is not valid yet');
  const { namespace, serviceaccount, pod } = claims['kubernetes.io'];
  const uid = context.objects.findServiceAccountUid(namespace, serviceaccount.name);
  if (uid !== serviceaccount.uid) {
    return refuse(`serviceaccounts ${JSON.stringify(serviceaccount.name)} not found`);
  }
  if (pod === undefined) return undefined;
  const living = context.objects.findPod(namespace, pod.name);
  if (living === undefined) return refuse('service account token has been invalidated');
  if (living.uid !== pod.uid) {
    return refuse(
      `pod UID (${living.uid}) does not match service account pod ref claim (${pod.uid})`,
    );
  }
  return undefined;
}

function toUser({ sub, jti, 'kubernetes.io': kubernetes }: Claims): object {
  const { namespace, serviceaccount, pod, node } = kubernetes;
  return {
    username: sub,
    uid: serviceaccount.uid,
    groups: [
      'system:serviceaccounts',
      `system:serviceaccounts:${namespace}`,
      'system:authenticated',
    ],
    extra: {
      [`${EXTRA}/credential-id`]: [`JTI=${jti}`],
      ...(node && { [`${EXTRA}/node-name`]: [node.name], [`${EXTRA}/node-uid`]: [node.uid] }),
      ...(pod && { [`${EXTRA}/pod-name`]: [pod.name], [`${EXTRA}/pod-uid`]: [pod.uid] }),
    },
  };
}

/** Header and claims of a compact JWS, unverified; undefined where it is none. */
function parseToken(
  token: string,
): { header: { alg?: unknown; kid?: unknown }; claims: Claims } | undefined {
  const [header, claims, ...rest] = token.split('.');
  if (header === undefined || claims === undefined || rest.length !== 1) return undefined;
  try {
    const parsed = { header: decode(header), claims: decode(claims) };
    // What the signature does not cover is never read as Claims: isSigned() is asked before anything but `iss`.
    return isRecord(parsed.header) && isRecord(parsed.claims)
      ? { header: parsed.header, claims: parsed.claims as unknown as Claims }
      : undefined;
  } catch {
    return undefined;
  }
}

function decode(segment: string): unknown {
  return JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
}

// "invalid bearer token" is what the rest of kube-apiserver's chain of authenticators adds to the one error that counts.
function refuse(error: string): Verdict {
  return { ok: false, error: `[invalid bearer token, ${error}]` };
}

function toList(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}

/** As Go's `%q` prints a list of strings. */
function quote(list: readonly string[]): string {
  return `[${list.map((item) => JSON.stringify(item)).join(' ')}]`;
}
