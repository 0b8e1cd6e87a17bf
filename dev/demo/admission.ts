// What the API server does when a pod is created: asks the webhook, applies the patch it gets.
import { randomUUID } from 'node:crypto';
import jsonPatch, { type Operation } from 'fast-json-patch';
import {
  ADMISSION_API_VERSION,
  type AdmissionReview,
  type JsonObject,
} from '../../common/protocol/admission.ts';
import { callJson } from './https.ts';
import type { Stage } from './stage.ts';

export interface Admitted {
  readonly pod: JsonObject;
  readonly operations: number;
  readonly warnings: readonly string[];
}

/** @throws Error where the webhook denies the pod: the demo's pods are good. */
export async function admit(stage: Stage, pod: JsonObject): Promise<Admitted> {
  const request = {
    uid: randomUUID(),
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    namespace: (pod.metadata as JsonObject).namespace,
    operation: 'CREATE',
    object: pod,
    dryRun: false,
  };
  const body = { apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', request };
  const url = `${stage.webhookUrl}/mutate`;
  const { response } = (await callJson({ url, ca: stage.ca, body })) as AdmissionReview;
  if (response?.allowed !== true || response.patch === undefined) {
    throw new Error(
      `the webhook did not inject the pod: ${response?.status?.message ?? 'no patch'}`,
    );
  }
  const operations = JSON.parse(Buffer.from(response.patch, 'base64').toString()) as Operation[];
  const patched = jsonPatch.applyPatch(structuredClone(pod), operations, true).newDocument;
  return { pod: patched, operations: operations.length, warnings: response.warnings ?? [] };
}
