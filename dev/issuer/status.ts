// Errors as Kubernetes writes them: a `Status` object whose `code` is the HTTP status. Wording follows the API server,
// because other makers' clients show it to people who search for it.

export interface KubeStatus {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Failure';
  readonly message: string;
  readonly reason: string;
  readonly details?: object;
  readonly code: number;
}

/** A refusal of the local issuer; the router is the only one that turns it into an answer. */
export class KubeError extends Error {
  readonly status: KubeStatus;

  constructor({ code, reason, message, details }: KubeErrorOptions) {
    super(message);
    this.name = 'KubeError';
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      ...(details && { details }),
      code,
    };
  }
}

interface KubeErrorOptions {
  code: number;
  reason: string;
  message: string;
  details?: object;
}

export function badRequest(message: string): KubeError {
  return new KubeError({ code: 400, reason: 'BadRequest', message });
}

/** The path names no resource. */
export function unknownPath(): KubeError {
  return new KubeError({
    code: 404,
    reason: 'NotFound',
    message: 'the server could not find the requested resource',
    details: {},
  });
}

/** The resource is known, the object is not. */
export function podNotFound(name: string): KubeError {
  return new KubeError({
    code: 404,
    reason: 'NotFound',
    message: `pods ${JSON.stringify(name)} not found`,
    details: { name, kind: 'pods' },
  });
}

export function methodNotAllowed(): KubeError {
  return new KubeError({
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  });
}

export function unsupportedMediaType(): KubeError {
  return new KubeError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message:
      'the body of the request was in an unknown format - accepted media types include: application/json',
  });
}

export function bodyTooLarge(limit: number): KubeError {
  return new KubeError({
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: `Request entity too large: limit is ${limit}`,
  });
}

export function conflict(name: string, why: string): KubeError {
  return new KubeError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on Pod ${JSON.stringify(name)}: ${why}`,
    details: { name, kind: 'Pod' },
  });
}

export interface InvalidField {
  field: string;
  /** As JSON shows it. */
  value: unknown;
  problem: string;
}

/** A well-formed TokenRequest whose values are not allowed. */
export function invalidTokenRequest(name: string, fields: readonly InvalidField[]): KubeError {
  const causes = fields.map(({ field, value, problem }) => ({
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(value)}: ${problem}`,
    field,
  }));
  const list = causes.map(({ field, message }) => `${field}: ${message}`);
  const problems = list.length === 1 ? list[0] : `[${list.join(', ')}]`;
  return new KubeError({
    code: 422,
    reason: 'Invalid',
    message: `TokenRequest.authentication.k8s.io ${JSON.stringify(name)} is invalid: ${problems}`,
    details: { name, group: 'authentication.k8s.io', kind: 'TokenRequest', causes },
  });
}
