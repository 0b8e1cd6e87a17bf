// CEL (the Common Expression Language, as the API server speaks it) written from TypeScript: literals of JSON values with
// expressions inside, and the few idioms the policies need. Only what Kubernetes 1.31 has: an API server refuses in new
// policies what its predecessor does not know.

/** An expression, as opposed to a text that becomes a literal. */
export class Cel {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

export type CelValue =
  | Cel
  | string
  | number
  | boolean
  | readonly CelValue[]
  | { readonly [key: string]: CelValue };

/** One named expression of a policy; later ones may use earlier ones as `variables.<name>`. */
export interface Variable {
  readonly name: string;
  readonly expression: string;
}

export const cel = (source: string): Cel => new Cel(source);

/** A string literal. JSON's escapes are CEL's. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

/** The value as an expression. */
export function literal(value: CelValue): string {
  if (value instanceof Cel) return value.source;
  if (typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${toItems(value).join(', ')}]`;
  const items = toItems(Object.values(value));
  return `{${Object.keys(value)
    .map((key, i) => `${quoted(key)}: ${items[i]}`)
    .join(', ')}}`;
}

function isList(value: CelValue): value is readonly CelValue[] {
  return Array.isArray(value);
}

/** Literals in CEL have items of one type: whatever is not all text is declared to be of any. */
function toItems(values: readonly CelValue[]): readonly string[] {
  const isText = values.every((value) => typeof value === 'string');
  return values.map((value) => (isText ? literal(value) : `dyn(${literal(value)})`));
}

/** Whether the expression matches the whole pattern, anchors included; our patterns mean the same in RE2. */
export function matches(expression: string, pattern: RegExp): string {
  return `${expression}.matches(${quoted(pattern.source)})`;
}

/** The indices 0 to `size` - 1, at most `most` of them: CEL has no loop that counts. */
export function indices(size: string, most: number): string {
  return `[${Array.from({ length: most }, (_, i) => i).join(', ')}].filter(i, i < ${size})`;
}

/** `name`, where `object` has it, else `fallback`. */
export function member(object: string, name: string, fallback: string): string {
  return `(has(${object}.${name}) ? ${object}.${name} : ${fallback})`;
}

/** The cases in order, then what holds in all others. */
export function choose(cases: readonly (readonly [string, string])[], otherwise: string): string {
  return cases.reduceRight((rest, [when, then]) => `(${when} ? ${then} : ${rest})`, otherwise);
}
