// AdmissionReview v1 as the API server sends and reads it, and RFC 6902 operations as we write them. The pod itself is
// `unknown` JSON on purpose: a typed pod would tempt someone to write it back without its unknown fields.

export const ADMISSION_API_VERSION = 'admission.k8s.io/v1';

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export interface AdmissionRequest {
  readonly uid: string;
  readonly kind?: { group: string; version: string; kind: string };
  readonly resource?: { group: string; version: string; resource: string };
  readonly subResource?: string;
  readonly operation?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly dryRun?: boolean;
  readonly object?: JsonObject | null;
}

export interface AdmissionReview {
  readonly apiVersion: string;
  readonly kind: 'AdmissionReview';
  readonly request?: AdmissionRequest;
  readonly response?: AdmissionResponse;
}

export interface AdmissionResponse {
  readonly uid: string;
  readonly allowed: boolean;
  /** Base64 of a JSON list of {@link PatchOperation}. */
  readonly patch?: string;
  readonly patchType?: 'JSONPatch';
  readonly warnings?: readonly string[];
  readonly status?: { readonly code: number; readonly message: string; readonly reason?: string };
  readonly auditAnnotations?: Readonly<Record<string, string>>;
}

/** The only two operations the webhook ever emits; `replace` only below objects under our own names. */
export interface PatchOperation {
  readonly op: 'add' | 'replace';
  readonly path: string;
  readonly value: Json;
}
