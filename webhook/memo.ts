// A small bounded memory for what many pods get alike. What is remembered must follow from its key alone: then nothing of
// one pod can reach another, and a key that is forgotten costs time and changes nothing.

/** The texts of longer keys are no Deployment's, and would cost more to keep than to make again. */
const LONGEST_KEY = 1024;

/**
 * Remembers at least the `limit` keys that were asked for last, and at most twice as many. Two generations instead of a
 * list by age: a key that is in use costs one look-up.
 */
export class Memo<V> {
  readonly #limit: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  find(key: string): V | undefined {
    const found = this.#young.get(key);
    if (found !== undefined) return found;
    const aged = this.#old.get(key);
    if (aged !== undefined) this.keep(key, aged);
    return aged;
  }

  keep(key: string, value: V): void {
    if (key.length > LONGEST_KEY) return;
    if (this.#young.size >= this.#limit) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}

/** A part of a key: with its length before it, so that no two lists of parts make the same key. */
export function toKeyPart(text: string): string {
  return `${text.length}:${text}`;
}
