// Reading the pod's raw JSON without trusting its shape, and pointing into it (RFC 6901). The pod is never decoded into a
// struct: what we do not know must survive untouched.
import type { Json, JsonObject } from '../common/protocol/admission.ts';

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A member of the object itself; null counts as absent, as it does to the API server. */
export function findMember(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? (object[name] ?? undefined) : undefined;
}

/** The member where it is an object, else undefined. */
export function findObject(object: JsonObject, name: string): JsonObject | undefined {
  const value = findMember(object, name);
  return isObject(value) ? value : undefined;
}

/** The member where it is a string, else undefined. */
export function findText(object: JsonObject, name: string): string | undefined {
  const value = findMember(object, name);
  return typeof value === 'string' ? value : undefined;
}

/** One step of a JSON pointer, escaped (RFC 6901 §3). */
export function toPointerStep(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** Whether two JSON values are the same, whatever the order of their keys. */
export function isSameJson(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, i) => isSameJson(item, right[i]));
  }
  if (!isObject(left) || !isObject(right)) return false;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSameJson(left[key], right[key]))
  );
}
