// Holds what the policies make of a pod against what the webhook makes of it: the same additions, sent by hand to a namespace
// without policies and defaulted by the same server.
import { expect } from 'chai';
import fastJsonPatch from 'fast-json-patch';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { toComparable, toSorted } from '../api-server/pod-difference.ts';
import { dryRun } from '../api-server/stage.ts';
import type { ApiAnswer, Cluster } from '../harness/cluster.ts';
import type { TestNamespace } from '../harness/namespace.ts';
import { toUnplaced } from './stage.ts';

export function applyOperations(pod: JsonObject, operations: readonly object[]): JsonObject {
  const copy = structuredClone(pod);
  const own = structuredClone(operations) as fastJsonPatch.Operation[];
  return fastJsonPatch.applyPatch(copy, own).newDocument;
}

/** As text: the order of members counts as well. */
export function toText(pod: JsonObject): string {
  return JSON.stringify(toSorted(toComparable(pod)), null, 1);
}

/** What the API server stores of a pod without policies. */
export function tryPlain(cluster: Cluster, plain: TestNamespace, pod: JsonObject) {
  return dryRun(cluster, plain.name, toUnplaced(pod));
}

/** Fails unless both were admitted and are the same. */
export function checkSame(byPolicy: ApiAnswer, byHand: ApiAnswer): void {
  expect(byHand.status, String(byHand.body.message)).to.equal(201);
  expect(byPolicy.status, String(byPolicy.body.message)).to.equal(201);
  expect(toText(byPolicy.body)).to.equal(toText(byHand.body));
}

/** The code at the end of a refusal by the policies, undefined where it is not theirs. */
export function findCode({ status, body }: ApiAnswer): string | undefined {
  return status === 422
    ? /^.* denied request: coatcheck: .* \[([a-z_]+)\]$/s.exec(String(body.message))?.[1]
    : undefined;
}
