// A patch as the answer carries it: base64 of a JSON list. The operations that many pods get alike keep their base64, and
// the patch is put together from such pieces, because stringifying and encoding 3 kB for each pod took a tenth of the
// webhook's time. Base64 turns three bytes into four characters, so the pieces of a list can be encoded apart wherever each
// fills whole groups of three: blanks do that, which mean nothing between the values of JSON.
import type { Json, PatchOperation } from '../common/protocol/admission.ts';

/** An operation that may be part of many patches; nobody changes it or its value. */
export class SharedOperation implements PatchOperation {
  readonly op: 'add' | 'replace';
  readonly path: string;
  readonly value: Json;
  #piece: string | undefined;

  constructor(op: 'add' | 'replace', path: string, value: Json) {
    this.op = op;
    this.path = path;
    this.value = value;
  }

  /** Its JSON in base64, in whole groups. */
  toPiece(): string {
    this.#piece ??= toBase64(JSON.stringify(this));
    return this.#piece;
  }
}

const BEGIN = toBase64('[');
const COMMA = toBase64(',');
const END = toBase64(']');

/** The base64 of a JSON text in UTF-8, filled up to whole groups of three bytes, so that others may follow it. */
function toBase64(json: string): string {
  const blanks = (3 - (Buffer.byteLength(json) % 3)) % 3;
  return Buffer.from(json + ' '.repeat(blanks)).toString('base64');
}

/** The list of operations as `patch` of an AdmissionResponse. */
export function toPatchText(operations: readonly PatchOperation[]): string {
  let text = BEGIN;
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i] as PatchOperation;
    if (i > 0) text += COMMA;
    text +=
      operation instanceof SharedOperation
        ? operation.toPiece()
        : toBase64(JSON.stringify(operation));
  }
  return text + END;
}
