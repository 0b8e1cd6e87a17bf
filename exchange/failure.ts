// What can go wrong with one try: how soon the next one makes sense, and what a person should do about it.
// docs/exchange.md explains every code of this file.
import type { Pace } from './retry.ts';

export interface Failure {
  /** The broker's `reason`, or one of ours for what happened before the broker could answer. */
  readonly code: string;
  readonly pace: Pace;
  /** One sentence; of the broker's own, cleaned by {@link toSafeText}. */
  readonly text: string;
  readonly advice: string;
  readonly status?: number;
  readonly correlationId?: string;
  readonly retryAfterMs?: number;
}

interface Known {
  pace: Pace;
  advice: string;
}

const ASK_OPERATOR = 'give the correlation id to the operator of the broker';
const ASK_WITHOUT_ID =
  'ask the operator of the broker; without a correlation id this may be the answer of a proxy before it';
const NOT_OURS =
  'check the versions of exchange and broker; this request should never be refused so';

/** Reasons of the broker that are told apart. Whatever else comes with a 4xx status is final. */
const BROKER_REASONS: Readonly<Record<string, Known>> = {
  no_role: {
    pace: 'slow',
    advice:
      'apply a TokenRole that grants this ServiceAccount the audience, or correct the audience or role annotation',
  },
  token_not_yet_valid: {
    pace: 'slow',
    advice: 'compare the clocks of the API server and the broker',
  },
  // A new signing key of the API server is known to the broker only after its next look at the cluster's keys.
  token_signature: {
    pace: 'slow',
    advice: 'check that the broker has the public keys of this cluster',
  },
  // The kubelet replaces the file; the next try reads it again.
  token_expired: {
    pace: 'slow',
    advice: 'check the clock of the broker, and whether the kubelet rotates tokens on this node',
  },
  // API servers learn of a new pod at different moments; of a pod that is gone nobody will ask long.
  token_refused: {
    pace: 'slow',
    advice:
      'check that the pod and its ServiceAccount still exist, and that the broker asks the API server of this cluster',
  },
  token_issuer: {
    pace: 'never',
    advice: 'add the issuer of this cluster to the clusters that the broker trusts',
  },
  token_audience: {
    pace: 'never',
    advice:
      'give every audience its own name; a ServiceAccount token must be for one audience only',
  },
  token_unbound: {
    pace: 'never',
    advice: 'use the projected token of the pod; the role requires a token bound to one',
  },
  token_malformed: {
    pace: 'never',
    advice: 'check that the identity directory holds ServiceAccount tokens',
  },
  token_claims: {
    pace: 'never',
    advice: 'check that the identity directory holds ServiceAccount tokens',
  },
  target_refused: {
    pace: 'never',
    advice: 'check that the file of this audience holds a token for this audience',
  },
  scope_refused: { pace: 'never', advice: 'ask for scopes that the role has' },
  not_found: { pace: 'never', advice: 'check the broker URL; this server has no token endpoint' },
};

/** Ours, for what happens without an answer of the broker, or with one that cannot be its own. */
const LOCAL: Readonly<Record<string, Known>> = {
  identity_unreadable: {
    pace: 'slow',
    advice: 'check that the volume coatcheck-identity is mounted in this container',
  },
  dns: {
    pace: 'fast',
    advice: 'check DNS in this pod, or have the operator set the fallback address',
  },
  timeout: {
    pace: 'fast',
    advice: 'check NetworkPolicies between this pod and the broker, and that the broker runs',
  },
  network: {
    pace: 'fast',
    advice: 'check NetworkPolicies between this pod and the broker, and that the broker runs',
  },
  tls: {
    pace: 'slow',
    advice:
      'check the broker certificate: its name must be the host of the broker URL, its issuer the configured CA, its dates current',
  },
  redirect: { pace: 'never', advice: 'check the broker URL; the broker never redirects' },
  answer_too_long: { pace: 'never', advice: 'check the broker URL; this is no answer of a broker' },
  answer_invalid: { pace: 'never', advice: 'check the broker URL; this is no answer of a broker' },
  write_failed: {
    pace: 'slow',
    advice:
      'check that the volume coatcheck-tokens is mounted read-write in this container and not full',
  },
};

/** Every code that docs/exchange.md must explain. */
export const FAILURE_CODES: readonly string[] = [
  ...Object.keys(BROKER_REASONS),
  ...Object.keys(LOCAL),
];

/** A failure of our own list. */
export function createFailure(code: keyof typeof LOCAL & string, text: string): Failure {
  const known = LOCAL[code];
  if (!known) throw new TypeError(`no such failure: ${code}`);
  return { code, text, ...known };
}

export interface Refusal {
  status: number;
  reason: string | undefined;
  text: string | undefined;
  correlationId: string | undefined;
  retryAfterMs: number | undefined;
}

/** A failure by an answer whose status is not 200. */
export function toRefusal(refusal: Refusal): Failure {
  const { status, reason, correlationId, retryAfterMs } = refusal;
  const details = {
    status,
    ...(correlationId !== undefined && { correlationId }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
  const text = refusal.text ?? `the server answered with status ${status}`;
  if (status >= 300 && status < 400) return { ...createFailure('redirect', text), ...details };
  if (status < 300) return { ...createFailure('answer_invalid', text), ...details };
  const code = reason ?? `http_${status}`;
  // 408 and 425 are the other two statuses that ask for a second try (RFC 9110 §15.5.9, RFC 8470 §5.2).
  if (status >= 500 || status === 429 || status === 408 || status === 425) {
    const advice = correlationId === undefined ? ASK_WITHOUT_ID : ASK_OPERATOR;
    return { code, pace: 'fast', text, advice, ...details };
  }
  const known = reason === undefined ? undefined : BROKER_REASONS[reason];
  const fallback: Known = {
    pace: 'never',
    advice: reason === undefined ? 'check the broker URL; this is no answer of a broker' : NOT_OURS,
  };
  return { code, text, ...(known ?? fallback), ...details };
}

const TLS_CODE =
  /^(ERR_TLS|ERR_SSL|ERR_BORINGSSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|INVALID_|HOSTNAME_|EPROTO)/;
const DNS_CODE = /^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL|EDNS|DNS)/i;

/** A failure without an answer, by the runtime's error. */
export function toNetworkFailure(error: unknown, isTimeout: boolean): Failure {
  if (isTimeout) return createFailure('timeout', 'the broker did not answer in time');
  const code = findCode(error);
  const named = code === undefined ? '' : ` (${code})`;
  if (code !== undefined && DNS_CODE.test(code))
    return createFailure('dns', `the broker's name could not be resolved${named}`);
  if (code !== undefined && TLS_CODE.test(code))
    return createFailure('tls', `the broker's certificate was not accepted${named}`);
  return createFailure('network', `the broker could not be reached${named}`);
}

function findCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[\w.-]{1,64}$/.test(code) ? code : undefined;
}

// A compact JWS or its beginning, and the opaque tokens of the broker. The exchange may import nothing of common/secret.ts.
const TOKEN_SHAPES = /\beyJ[\w-]{8,}(?:\.[\w-]*)*|\bcc_[0-9A-Za-z]{24,}/g;

/** Text of another server, fit for one log line: no control characters, nothing that looks like a token, cut. */
export function toSafeText(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const clean = value
    .slice(0, 2_000)
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(TOKEN_SHAPES, '[redacted]')
    .trim()
    .slice(0, 300);
  return clean === '' ? undefined : clean;
}
