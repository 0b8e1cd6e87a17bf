// What went wrong between the CLI and the broker, as one sentence a person can act on. Nothing that was sent is in it.
import type { ErrorResponse } from '../common/protocol/oauth.ts';
import { toPlainText } from './plain-text.ts';

/** Ends a command with exit code 1. */
export class ApiFailure extends Error {
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** The wire's `reason`, where the broker gave one. */
  readonly reason: string | undefined;

  constructor(message: string, { status = 0, reason }: { status?: number; reason?: string } = {}) {
    super(message);
    this.name = 'ApiFailure';
    this.status = status;
    this.reason = reason;
  }
}

const UNTRUSTED =
  'its certificate is signed by an authority that is not trusted here; --ca-file names the CA of the broker';
/** Codes of Node's and OpenSSL's errors, after "cannot reach …:". */
export const CONNECTION: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved at the moment',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it closed the connection',
  EHOSTUNREACH: 'there is no way to its address',
  ENETUNREACH: 'there is no way to its address',
  ETIMEDOUT: 'it does not answer',
  EPROTO: 'it does not speak TLS there',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS there',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for other names; --server, or --tls-server-name, must be one that stands in it',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet; is the clock of this machine right?',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
};

/** @param timeoutMs 0: it was no timeout */
export function toConnectionFailure({
  error,
  url,
  timeoutMs,
}: {
  error: NodeJS.ErrnoException;
  url: URL;
  timeoutMs: number;
}): ApiFailure {
  const why =
    timeoutMs > 0
      ? `no answer within ${timeoutMs / 1000} s`
      : (CONNECTION[error.code ?? ''] ?? toPlainText(error.message));
  return new ApiFailure(`cannot reach ${url.origin}: ${why}`);
}

interface Problem {
  readonly path: string;
  readonly problem: string;
}

/** A failure that the broker told, or what somebody in front of it said instead. */
export function toAnswerFailure({
  status,
  answer,
  url,
  needs,
}: {
  status: number;
  answer: unknown;
  url: URL;
  needs: string | undefined;
}): ApiFailure {
  const told = findErrorBody(answer);
  if (!told) {
    const what = status >= 300 && status <= 399 ? 'redirects, which is not followed' : 'answers';
    return new ApiFailure(
      `${url.origin} ${what} with status ${status} and nothing that a broker says; is --server right?`,
      { status },
    );
  }
  const { error_description: text, reason, correlation_id: id } = told;
  const lines = [
    `${toBeginning(status, needs)}${toPlainText(String(text))} (${toPlainText(String(reason))}, correlation id ${toPlainText(String(id))})`,
    ...findDetails(answer).map(
      ({ path, problem }) =>
        `  - ${path === '' ? '' : `${toPlainText(path)}: `}${toPlainText(problem)}`,
    ),
  ];
  return new ApiFailure(lines.join('\n'), { status, reason: String(reason) });
}

function toBeginning(status: number, needs: string | undefined): string {
  if (status === 401) return 'the broker does not accept the credential: ';
  if (status === 403) return needs === undefined ? 'not allowed: ' : `not allowed; ${needs}: `;
  if (status === 404) return 'not found: ';
  if (status === 409 || status === 412) return 'conflict: ';
  if (status === 429 || status === 503) return 'not at the moment: ';
  return '';
}

function findErrorBody(answer: unknown): ErrorResponse | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const body = answer as Partial<ErrorResponse>;
  return typeof body.error === 'string' && typeof body.reason === 'string'
    ? (body as ErrorResponse)
    : undefined;
}

function findDetails(answer: unknown): readonly Problem[] {
  const { details } = answer as { details?: unknown };
  if (!Array.isArray(details)) return [];
  return details.filter(
    (one: Partial<Problem> | null): one is Problem =>
      typeof one?.path === 'string' && typeof one.problem === 'string',
  );
}
