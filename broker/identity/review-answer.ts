// A TokenReview (authentication.k8s.io/v1) as it is asked and what its answer proves. Pure. Only an answer that is wholly
// as expected is a yes; one that speaks of somebody else than the token does is a no, however friendly it is.
import { KubeError } from '../../common/kube/error.ts';
import { scrubTokens } from '../../common/secret.ts';
import type { Checked } from './claims.ts';
import type { WorkloadSubject } from './identity.ts';

export const TOKEN_REVIEWS_PATH = '/apis/authentication.k8s.io/v1/tokenreviews';

/** Whom the token says it belongs to, and the audience that was asked about. */
export interface ReviewQuestion {
  readonly token: string;
  readonly subject: Pick<WorkloadSubject, 'identity' | 'tokenId'>;
  readonly audience: string;
}

export function toTokenReview({ token, audience }: ReviewQuestion): object {
  return {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [audience] },
  };
}

/**
 * Reads the answer's status.
 * @throws KubeError if the text is no TokenReview; the message quotes nothing, since API servers echo the token.
 */
export function parseReview(text: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new KubeError('unavailable', 'the answer is not JSON');
  }
  const { kind, status } = toObject(document);
  if (kind !== 'TokenReview' || typeof status !== 'object' || status === null) {
    throw new KubeError('unavailable', 'the answer is no TokenReview');
  }
  return toObject(status);
}

/** What a status proves about the token. */
export function checkReview(
  status: Readonly<Record<string, unknown>>,
  question: ReviewQuestion,
): Checked<undefined> {
  // An error beside a yes says that some authenticator could not check: such a yes is none.
  if (status.authenticated !== true || (status.error ?? '') !== '') {
    const said = findText(status.error, question.token);
    const detail = `the API server does not accept the token${said === '' ? '' : `: ${said}`}`;
    return { ok: false, reason: 'review_refused', detail };
  }
  // The API server answers none where it knows no audiences, and then means its own: not what was asked.
  if (!toList(status.audiences).includes(question.audience)) {
    return {
      ok: false,
      reason: 'token_audience',
      detail: 'the API server accepts the token, and not for this audience',
      failed: {
        claim: 'status.audiences',
        got: toList(status.audiences).map((one) => scrubTokens(String(one).slice(0, 256))),
        want: question.audience,
      },
    };
  }
  return checkUser(toObject(status.user), question);
}

interface Comparison {
  readonly claim: string;
  readonly got: unknown;
  readonly want: string | undefined;
}

const EXTRA = 'authentication.kubernetes.io';

function checkUser(
  user: Readonly<Record<string, unknown>>,
  { subject: { identity, tokenId } }: ReviewQuestion,
): Checked<undefined> {
  const extra = toObject(user.extra);
  const find = (name: string) => findOnly(extra[`${EXTRA}/${name}`]);
  const compared: readonly Comparison[] = [
    {
      claim: 'username',
      got: user.username,
      want: `system:serviceaccount:${identity.namespace}:${identity.serviceAccount}`,
    },
    { claim: 'uid', got: user.uid, want: identity.serviceAccountUid },
    { claim: 'pod-name', got: find('pod-name'), want: identity.pod?.name },
    { claim: 'pod-uid', got: find('pod-uid'), want: identity.pod?.uid },
    // These came with 1.30 behind feature gates: what the API server says must fit, it need not say it.
    ...[
      { claim: 'node-name', got: find('node-name'), want: identity.node?.name },
      { claim: 'node-uid', got: find('node-uid'), want: identity.node?.uid },
      { claim: 'credential-id', got: find('credential-id'), want: tokenId && `JTI=${tokenId}` },
    ].filter(({ got }) => got !== undefined),
  ];
  const wrong = compared.find(({ got, want }) => got !== want);
  if (!wrong) return { ok: true, value: undefined };
  return {
    ok: false,
    reason: 'review_mismatch',
    detail: `the API server names another ${wrong.claim} than the token`,
    failed: {
      claim: `status.user ${wrong.claim}`,
      got: scrubTokens(String(wrong.got).slice(0, 256)),
      want: wrong.want ?? null,
    },
  };
}

/** Extra values are lists; one with another number of texts than one is none that we know. */
function findOnly(value: unknown): unknown {
  if (value === undefined) return undefined;
  const list = toList(value);
  return list.length === 1 && typeof list[0] === 'string' ? list[0] : null;
}

/** The API server's own words for the operator; nothing at all where they hold a part of the token. */
function findText(value: unknown, token: string): string {
  if (typeof value !== 'string') return '';
  if (token.split('.').some((segment) => segment !== '' && value.includes(segment))) return '';
  return scrubTokens(value.slice(0, 300)).replace(/[^\x20-\x7e]+/g, ' ');
}

function toList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function toObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}
