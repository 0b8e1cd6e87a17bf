// AdmissionReview bytes in, AdmissionReview out. Never throws: whatever comes in, the API server gets an answer with its own
// uid, or, where there is no uid to answer to, a Kubernetes Status with 400.
import { isUtf8 } from 'node:buffer';
import {
  ADMISSION_API_VERSION,
  type AdmissionRequest,
  type AdmissionResponse,
  type AdmissionReview,
  type PatchOperation,
} from '../common/protocol/admission.ts';
import { DENIALS, type Denial, toStatus } from './errors.ts';
import { type Injection, inject } from './inject.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findObject, findText, isObject } from './json.ts';
import { toPatchText } from './patch.ts';

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
  readonly uid?: string | undefined;
  readonly namespace?: string | undefined;
  readonly pod?: string | undefined;
  readonly dryRun?: boolean | undefined;
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
      status: 400,
      body: toStatusBody(400, 'BadRequest', request),
      outcome: 'bad_review',
      facts: {},
      warnings: [],
      denials: [],
      error: undefined,
    };
  }
  try {
    const settled = findRefusal(request);
    return settled ?? toAnswer(request, decide(request.object, settings));
  } catch (error) {
    const denials: Denial[] = [
      {
        code: 'internal',
        message: 'the webhook failed on this pod; its log has the reason under this uid',
      },
    ];
    return { ...deny(request, denials), outcome: 'failed', error };
  }
}

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

/** The answer to what is no creation of a pod. */
function findRefusal(request: AdmissionRequest): Answer | undefined {
  const mismatch = findMismatch(request);
  // Not ours to judge: a rule in the webhook's configuration sent it here by mistake, and its author should hear of it.
  if (mismatch !== undefined) {
    const warnings = [
      `coatcheck: ${mismatch}, unchanged; its webhook is to be called for the creation of pods only`,
    ];
    return { ...allow(request, { operations: [], warnings }), outcome: 'not_matched' };
  }
  if (isObject(request.object)) return undefined;
  const denials: Denial[] = [
    {
      code: 'review_malformed',
      message: 'the request holds no object; expected the pod that is to be created',
    },
  ];
  return { ...deny(request, denials), outcome: 'bad_review' };
}

function toAnswer(request: AdmissionRequest, decided: Injection): Answer {
  if (!decided.ok) return deny(request, decided.denials);
  const { operations, warnings } = decided;
  if (warnings.length === 0) return allow(request, { operations, warnings });
  return allow(request, { operations, warnings: warnings.map((one) => `coatcheck: ${one}`) });
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
  request: AdmissionRequest,
  { operations, warnings }: { operations: readonly PatchOperation[]; warnings: readonly string[] },
): Answer {
  const { uid } = request;
  const isPatched = operations.length > 0;
  const said = warnings.length > 0 ? { uid, allowed: true, warnings } : { uid, allowed: true };
  const response: AdmissionResponse = isPatched
    ? { ...said, patchType: 'JSONPatch', patch: toPatchText(operations) }
    : said;
  return {
    status: 200,
    body: { apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', response },
    outcome: isPatched ? 'injected' : 'unchanged',
    facts: toFacts(request),
    warnings,
    denials: [],
    error: undefined,
  };
}

function deny(request: AdmissionRequest, denials: readonly Denial[]): Answer {
  const { code, message } = toStatus(denials);
  const reason = { 400: 'BadRequest', 422: 'Invalid', 500: 'InternalError' }[
    DENIALS[denials[0]?.code ?? 'internal'].status
  ];
  const { uid } = request;
  const response: AdmissionResponse = { uid, allowed: false, status: { code, message, reason } };
  return {
    status: 200,
    body: { apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', response },
    outcome: 'denied',
    facts: toFacts(request),
    warnings: [],
    denials,
    error: undefined,
  };
}

/**
 * The namespace is the request's: in the pod itself it is often missing, and what stands there is the caller's word.
 * Always the same members, which the log line is written from.
 */
function toFacts({ uid, namespace, name, dryRun, object }: AdmissionRequest): ReviewFacts {
  return {
    uid,
    namespace: typeof namespace === 'string' ? cut(namespace) : undefined,
    pod: typeof name === 'string' && name !== '' ? cut(name) : findGenerated(object),
    dryRun: dryRun === true ? dryRun : undefined,
  };
}

function findGenerated(object: unknown): string | undefined {
  const metadata = isObject(object) ? findObject(object, 'metadata') : undefined;
  const prefix = metadata && findText(metadata, 'generateName');
  return prefix === undefined ? undefined : `${cut(prefix)}(generated)`;
}

const LONGEST_NAME = 253;

function cut(name: string): string {
  return name.length > LONGEST_NAME ? name.slice(0, LONGEST_NAME) : name;
}
