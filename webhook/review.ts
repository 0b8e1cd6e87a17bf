// AdmissionReview bytes in, AdmissionReview out. Never throws: whatever comes in, the API server gets an answer with its own
// uid, or, where there is no uid to answer to, a Kubernetes Status with 400.
import { isUtf8 } from 'node:buffer';
import {
  ADMISSION_API_VERSION,
  type AdmissionRequest,
  type AdmissionResponse,
  type AdmissionReview,
} from '../common/protocol/admission.ts';
import { DENIALS, type Denial, toStatus } from './errors.ts';
import { type Injection, inject } from './inject.ts';
import type { InjectSettings } from './inject-settings.ts';
import { isObject } from './json.ts';

/** What became of a review; the label of the metric. */
export type Outcome = 'injected' | 'unchanged' | 'denied' | 'not_matched' | 'bad_review' | 'failed';

export interface Answer {
  /** Of the HTTP answer: 200 wherever there is a uid to answer to. */
  readonly status: 200 | 400;
  readonly body: AdmissionReview | StatusBody;
  readonly outcome: Outcome;
  /** For the log: never the pod, only what names it. */
  readonly facts: ReviewFacts;
  readonly warnings: readonly string[];
  readonly denials: readonly Denial[];
  /** A bug of ours, for the log alone. */
  readonly error?: unknown;
}

export interface ReviewFacts {
  readonly uid?: string;
  readonly namespace?: string;
  readonly pod?: string;
  readonly dryRun?: boolean;
}

/** `meta/v1` Status: what Kubernetes clients expect where a request could not be served at all. */
export interface StatusBody {
  readonly apiVersion: 'v1';
  readonly kind: 'Status';
  readonly status: 'Failure';
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

export function toStatusBody(code: number, reason: string, message: string): StatusBody {
  return {
    apiVersion: 'v1',
    kind: 'Status',
    status: 'Failure',
    code,
    reason,
    message: `coatcheck: ${message}`,
  };
}

const EXPECTED = `a JSON AdmissionReview of ${ADMISSION_API_VERSION} with a request and its uid`;
// Kubernetes' own are 36 characters.
const LONGEST_UID = 128;

/** Answers one review. `decide` is {@link inject}; tests give one that fails. */
export function review(
  bytes: Uint8Array,
  settings: InjectSettings,
  decide: (pod: unknown, settings: InjectSettings) => Injection = inject,
): Answer {
  const request = parseRequest(bytes);
  if (typeof request === 'string') {
    return {
      ...NOTHING,
      status: 400,
      outcome: 'bad_review',
      body: toStatusBody(400, 'BadRequest', request),
    };
  }
  const facts = toFacts(request);
  try {
    return { ...decideRequest(request, () => decide(request.object, settings)), facts };
  } catch (error) {
    const denials: Denial[] = [
      {
        code: 'internal',
        message: 'the webhook failed on this pod; its log has the reason under this uid',
      },
    ];
    return { ...deny(request.uid, denials), outcome: 'failed', facts, error };
  }
}

const NOTHING = { facts: {}, warnings: [], denials: [] } as const;

function parseRequest(bytes: Uint8Array): AdmissionRequest | string {
  // Bytes that are no UTF-8 would otherwise become other text than the API server has.
  const text = isUtf8(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
    : '';
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return `the body is no JSON; expected ${EXPECTED}`;
  }
  if (!isObject(parsed) || parsed.kind !== 'AdmissionReview')
    return `the body is no AdmissionReview; expected ${EXPECTED}`;
  if (parsed.apiVersion !== ADMISSION_API_VERSION)
    return `this version of AdmissionReview is not served; expected ${EXPECTED}`;
  const { request } = parsed;
  if (!isObject(request)) return `the review holds no request; expected ${EXPECTED}`;
  const { uid } = request;
  if (typeof uid !== 'string' || uid === '' || uid.length > LONGEST_UID)
    return `the request has no usable uid; expected ${EXPECTED}`;
  return request as unknown as AdmissionRequest;
}

function decideRequest(request: AdmissionRequest, decide: () => Injection): Omit<Answer, 'facts'> {
  const mismatch = findMismatch(request);
  // Not ours to judge: a rule in the webhook's configuration sent it here by mistake, and its author should hear of it.
  if (mismatch !== undefined) {
    const warnings = [
      `coatcheck: ${mismatch}, unchanged; its webhook is to be called for the creation of pods only`,
    ];
    return { ...allow(request.uid, { warnings }), outcome: 'not_matched' };
  }
  if (!isObject(request.object)) {
    return {
      ...deny(request.uid, [
        {
          code: 'review_malformed',
          message: 'the request holds no object; expected the pod that is to be created',
        },
      ]),
      outcome: 'bad_review',
    };
  }
  const decided = decide();
  if (!decided.ok) return deny(request.uid, decided.denials);
  const { operations, warnings } = decided;
  return allow(request.uid, { operations, warnings: warnings.map((one) => `coatcheck: ${one}`) });
}

function findMismatch({ operation, subResource, kind }: AdmissionRequest): string | undefined {
  if (subResource) return 'a subresource of a pod is admitted';
  if (operation !== undefined && operation !== 'CREATE')
    return 'an operation other than CREATE is admitted';
  if (isObject(kind) && (kind.kind !== 'Pod' || kind.group !== ''))
    return 'an object that is no pod is admitted';
  return undefined;
}

function allow(
  uid: string,
  { operations = [], warnings }: { operations?: readonly object[]; warnings: readonly string[] },
): Omit<Answer, 'facts'> {
  const patch = operations.length > 0 && {
    patchType: 'JSONPatch' as const,
    patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
  };
  const response: AdmissionResponse = {
    uid,
    allowed: true,
    ...(warnings.length > 0 && { warnings }),
    ...patch,
  };
  return { ...answer(response), outcome: patch ? 'injected' : 'unchanged', warnings, denials: [] };
}

function deny(uid: string, denials: readonly Denial[]): Omit<Answer, 'facts'> {
  const { code, message } = toStatus(denials);
  const reason = { 400: 'BadRequest', 422: 'Invalid', 500: 'InternalError' }[
    DENIALS[denials[0]?.code ?? 'internal'].status
  ];
  const response: AdmissionResponse = { uid, allowed: false, status: { code, message, reason } };
  return { ...answer(response), outcome: 'denied', warnings: [], denials };
}

function answer(response: AdmissionResponse): { status: 200; body: AdmissionReview } {
  return {
    status: 200,
    body: { apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', response },
  };
}

/** The namespace is the request's: in the pod itself it is often missing, and what stands there is the caller's word. */
function toFacts({ uid, namespace, name, dryRun, object }: AdmissionRequest): ReviewFacts {
  const metadata = isObject(object) && isObject(object.metadata) ? object.metadata : {};
  const generated =
    typeof metadata.generateName === 'string'
      ? `${metadata.generateName.slice(0, 253)}(generated)`
      : undefined;
  const pod = typeof name === 'string' && name !== '' ? name.slice(0, 253) : generated;
  return {
    uid,
    ...(typeof namespace === 'string' && { namespace: namespace.slice(0, 253) }),
    ...(pod !== undefined && { pod }),
    ...(dryRun === true && { dryRun }),
  };
}
