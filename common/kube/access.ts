// Asks the API server what may be done: by a caller (SubjectAccessReview) or by this process itself
// (SelfSubjectAccessReview). Nothing is remembered here: how old an answer may be is for the caller to say.
import type { KubeClient } from './client.ts';
import { KubeError } from './error.ts';

/** What somebody wants to do, as Kubernetes' authorizers see it (`resourceAttributes`). */
export interface AccessAttributes {
  readonly verb: string;
  /** `''` is the core group. */
  readonly group: string;
  /** Plural, as `tokenroles`. */
  readonly resource: string;
  readonly subresource?: string;
  /** Absent: in every namespace, or the resource has none. */
  readonly namespace?: string;
  /** Absent: whatever its name is. */
  readonly name?: string;
}

/** A user as a TokenReview or a client certificate named them. */
export interface AccessUser {
  readonly user: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** `reason` is the authorizer's own text, for logs and for the person concerned; often empty. */
export interface AccessAnswer {
  readonly allowed: boolean;
  readonly reason: string;
}

export interface AccessReviews {
  /**
   * Whether this process may, with the credential that is on the disk now. Every authenticated identity may ask that.
   * @throws KubeError, also `unavailable` for an answer that is no review
   */
  canI(attributes: AccessAttributes): Promise<AccessAnswer>;
  /**
   * Whether this user may. Needs the right to create subjectaccessreviews.
   * @throws KubeError, also `unavailable` for an answer that is no review
   */
  can(user: AccessUser, attributes: AccessAttributes): Promise<AccessAnswer>;
}

const API_VERSION = 'authorization.k8s.io/v1';
const BASE = '/apis/authorization.k8s.io/v1';
/** Characters; it goes into log lines. */
const MAX_REASON = 512;

export function createAccessReviews(client: Pick<KubeClient, 'post'>): AccessReviews {
  const ask = async (kind: string, spec: object): Promise<AccessAnswer> => {
    const path = `${BASE}/${kind.toLowerCase()}s`;
    return toAnswer(kind, await client.post(path, { apiVersion: API_VERSION, kind, spec }));
  };
  return {
    canI: (attributes) => ask('SelfSubjectAccessReview', { resourceAttributes: attributes }),
    can: async ({ user, uid, groups, extra }, attributes) => {
      // The API server takes a review of nobody for one of an anonymous group.
      if (user === '') throw new TypeError('a SubjectAccessReview needs a user');
      return ask('SubjectAccessReview', {
        user,
        groups,
        ...(uid !== undefined && { uid }),
        ...(extra && { extra }),
        resourceAttributes: attributes,
      });
    },
  };
}

/** Anything but a clear yes is a no: `denied` wins over `allowed`, as in Kubernetes. */
function toAnswer(kind: string, text: string): AccessAnswer {
  const answer = parse(text);
  const status = Object(answer.status) as Record<string, unknown>;
  if (answer.kind !== kind || typeof status.allowed !== 'boolean')
    throw new KubeError('unavailable', `answered something that is no ${kind}`);
  const reason = [status.reason, status.evaluationError]
    .filter((part) => typeof part === 'string' && part !== '')
    .join('; ');
  return {
    allowed: status.allowed && status.denied !== true,
    reason: reason.slice(0, MAX_REASON),
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}
