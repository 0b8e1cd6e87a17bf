// TokenRequest (authentication.k8s.io/v1): from the body to a signed ServiceAccount token, with kube-apiserver's rules,
// defaults and claims. The ServiceAccount and the pod need not exist before: being asked for makes them exist.
import { nowSeconds } from '../../common/clock.ts';
import type { IssuerContext } from '../issuer.ts';
import { type Pod, toTimestamp } from './objects.ts';
import { badRequest, type InvalidField, invalidTokenRequest } from './status.ts';
import { isRecord, isTextList, parseObject } from './wire.ts';

const DEFAULT_EXPIRATION_SECONDS = 3600;
const MIN_EXPIRATION_SECONDS = 600;
const MAX_EXPIRATION_SECONDS = 2 ** 32;
// What every pod's default token asks for. With the API server's audience such a token lives for a year, and
// `warnafter` says when the client should have renewed it.
const DEFAULT_TOKEN_SECONDS = 3607;
const EXTENDED_EXPIRATION_SECONDS = 365 * 24 * 3600;

interface TokenRequestSpec {
  audiences: readonly string[];
  expirationSeconds: number;
  boundPod?: { name: string; uid?: string };
}

export interface TokenTarget {
  namespace: string;
  serviceAccount: string;
}

/**
 * Answers one TokenRequest.
 * @throws KubeError 400, 404, 409, 422 as kube-apiserver would.
 */
export function requestToken(context: IssuerContext, target: TokenTarget, body: unknown): object {
  const request = parseObject(body, 'TokenRequest');
  const spec = parseSpec(context, request.spec);
  checkValues(target, request, spec);
  const now = context.clock.now();
  const pod = spec.boundPod && context.objects.bindPod({ ...target, ...spec.boundPod, now });
  const claims = toClaims(context, { target, spec, pod });
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {
      name: target.serviceAccount,
      namespace: target.namespace,
      creationTimestamp: toTimestamp(now),
    },
    spec: {
      audiences: spec.audiences,
      expirationSeconds: spec.expirationSeconds,
      boundObjectRef: pod ? { kind: 'Pod', apiVersion: 'v1', name: pod.name, uid: pod.uid } : null,
    },
    status: {
      token: context.key.sign(claims),
      // The requested life, not the extended one: clients renew by it.
      expirationTimestamp: toTimestamp(now + spec.expirationSeconds * 1000),
    },
  };
}

function parseSpec(context: IssuerContext, value: unknown): TokenRequestSpec {
  const spec = value ?? {};
  if (!isRecord(spec)) throw unreadable('spec must be an object');
  const audiences = spec.audiences ?? [];
  if (!isTextList(audiences)) throw unreadable('spec.audiences must be a list of strings');
  const seconds = spec.expirationSeconds ?? DEFAULT_EXPIRATION_SECONDS;
  if (typeof seconds !== 'number' || !Number.isSafeInteger(seconds)) {
    throw unreadable('spec.expirationSeconds must be a whole number');
  }
  const boundPod = parseReference(spec.boundObjectRef);
  return {
    audiences: audiences.length > 0 ? audiences : context.apiAudiences,
    expirationSeconds: seconds,
    ...(boundPod && { boundPod }),
  };
}

function parseReference(value: unknown): { name: string; uid?: string } | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) throw unreadable('spec.boundObjectRef must be an object');
  const { kind = '', apiVersion = '', name = '', uid = '' } = value;
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    throw unreadable('spec.boundObjectRef.kind and apiVersion must be strings');
  }
  if (typeof name !== 'string' || typeof uid !== 'string') {
    throw unreadable('spec.boundObjectRef.name and uid must be strings');
  }
  // The local issuer knows no secrets and one node; kube-apiserver says the same of every kind it cannot bind to.
  if (kind !== 'Pod' || apiVersion !== 'v1') {
    throw badRequest(`cannot bind token to object of type ${apiVersion || '/'}, Kind=${kind}`);
  }
  if (name === '') throw badRequest('resource name may not be empty');
  return { name, ...(uid !== '' && { uid }) };
}

function checkValues(
  target: TokenTarget,
  request: Record<string, unknown>,
  spec: TokenRequestSpec,
): void {
  const metadata = isRecord(request.metadata) ? request.metadata : {};
  const problems: InvalidField[] = [];
  const mustMatch = (field: 'name' | 'namespace', expected: string, problem: string): void => {
    const value = metadata[field];
    if (value === undefined || value === '' || value === expected) return;
    throw invalidTokenRequest(target.serviceAccount, [
      { field: `metadata.${field}`, value, problem },
    ]);
  };
  mustMatch('name', target.serviceAccount, 'must match the service account name if specified');
  mustMatch('namespace', target.namespace, 'must match the service account namespace if specified');
  const { expirationSeconds: value } = spec;
  const field = 'spec.expirationSeconds';
  if (value < MIN_EXPIRATION_SECONDS) {
    problems.push({ field, value, problem: 'may not specify a duration less than 10 minutes' });
  }
  if (value > MAX_EXPIRATION_SECONDS) {
    problems.push({ field, value, problem: 'may not specify a duration larger than 2^32 seconds' });
  }
  if (problems.length > 0) throw invalidTokenRequest('', problems);
}

interface ClaimsInput {
  target: TokenTarget;
  spec: TokenRequestSpec;
  pod: Pod | undefined;
}

function toClaims(context: IssuerContext, { target, spec, pod }: ClaimsInput): object {
  const { objects, clock, issuer, newUid, apiAudiences } = context;
  const { namespace, serviceAccount } = target;
  const iat = nowSeconds(clock);
  const isExtended =
    pod !== undefined &&
    spec.expirationSeconds === DEFAULT_TOKEN_SECONDS &&
    spec.audiences.every((audience) => apiAudiences.includes(audience));
  return {
    aud: spec.audiences,
    exp: iat + (isExtended ? EXTENDED_EXPIRATION_SECONDS : spec.expirationSeconds),
    iat,
    iss: issuer,
    jti: newUid(),
    'kubernetes.io': {
      namespace,
      ...(pod && { node: objects.node, pod: { name: pod.name, uid: pod.uid } }),
      serviceaccount: {
        name: serviceAccount,
        uid: objects.getServiceAccountUid(namespace, serviceAccount),
      },
      ...(isExtended && { warnafter: iat + DEFAULT_TOKEN_SECONDS }),
    },
    nbf: iat,
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
  };
}

function unreadable(why: string) {
  return badRequest(`TokenRequest in version "v1" cannot be handled as a TokenRequest: ${why}`);
}
