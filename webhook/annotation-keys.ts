// The keys under our prefix, before any value is understood: which exist, which of them carry an audience's name, and
// what is said of one that does not exist.
import type { JsonObject } from '../common/protocol/admission.ts';
import {
  ANNOTATION_KEYS,
  NAMED_ANNOTATION_KEYS,
  type PodAudience,
  splitAnnotationKey,
} from '../common/protocol/pod.ts';
import { didYouMean } from '../common/spelling.ts';
import { type Denial, type DenialCode, MOST_TOLD, quote, toShown } from './errors.ts';

/** The annotations under the prefix, sorted into plain keys and named ones. Handed to the parsers of single values. */
export interface GivenAnnotations {
  readonly prefix: string;
  readonly plain: ReadonlyMap<string, string>;
  /** `audience.billing` is under `audience`, then `billing`. Sorted by name. */
  readonly named: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly deny: (code: DenialCode, key: string, problem: string) => void;
  /** {@link didYouMean}, as long as the denial will be read: comparing spellings for thousands of keys takes seconds. */
  readonly guess: (given: string, candidates: readonly string[]) => string;
}

/** Sorts the keys under `prefix`; what no parser will look at (unknown keys, values that are no text) is denied here. */
export function sortKeys(
  annotations: JsonObject,
  prefix: string,
  denials: Denial[],
): GivenAnnotations {
  const plain = new Map<string, string>();
  const named = new Map<string, Map<string, string>>();
  const deny = (code: DenialCode, key: string, problem: string): void => {
    const annotation = `${prefix}${key}`;
    denials.push({ code, annotation, message: `${toShown(annotation)}: ${problem}` });
  };
  const guess = (given: string, candidates: readonly string[]): string =>
    denials.length < MOST_TOLD ? didYouMean(given, candidates) : '';
  // Sorted, so that messages do not depend on the order in which a map was written.
  for (const key of Object.keys(annotations)
    .filter((one) => one.startsWith(prefix))
    .sort()) {
    const name = key.slice(prefix.length);
    // Written by us, trusted by nobody: also a copied or invented one.
    if (name === 'status') continue;
    const value = annotations[key];
    const [base, audience] = splitAnnotationKey(name);
    if (base === undefined) denyUnknownKey(name, { deny, guess });
    else if (typeof value !== 'string') deny('annotation_not_text', name, 'must be a string');
    else if (audience === undefined) plain.set(name, value);
    else named.set(base, (named.get(base) ?? new Map<string, string>()).set(audience, value));
  }
  return { prefix, plain, named, deny, guess };
}

function denyUnknownKey(
  name: string,
  { deny, guess }: Pick<GivenAnnotations, 'deny' | 'guess'>,
): void {
  const allowed = ANNOTATION_KEYS.filter((key) => key !== 'status');
  const dot = name.indexOf('.');
  const nearest = dot > 0 ? guess(name.slice(0, dot), NAMED_ANNOTATION_KEYS) : guess(name, allowed);
  const named = NAMED_ANNOTATION_KEYS.map((key) => `${key}.<name>`);
  deny(
    'annotation_unknown',
    name,
    `is not a known annotation${nearest}; allowed: ${[...allowed, ...named].join(', ')}`,
  );
}

/** Whether `<key>.<name>` speaks of an audience of this pod; denied otherwise. */
export function checkAudienceName(
  { deny, guess }: Pick<GivenAnnotations, 'deny' | 'guess'>,
  {
    key,
    name,
    audiences,
  }: { key: string; name: string; audiences: readonly Pick<PodAudience, 'name'>[] },
): boolean {
  const names = audiences.map((one) => one.name);
  if (names.includes(name)) return true;
  // Where no audience could be read, its own denial says so; a second one about its name would only puzzle.
  if (names.length > 0) {
    deny(
      'audience_name_unknown',
      `${key}.${name}`,
      `this pod has no audience named ${quote(name)}${guess(name, names)}; allowed: ${names.join(', ')}`,
    );
  }
  return false;
}

/** Splits at commas; blanks around an item do not count, an empty item stays and is for the caller to refuse. */
export function splitList(text: string): readonly string[] {
  return text.split(',').map(trimBlanks);
}

// By hand: `/ +$/` takes a minute over an annotation of 200 kB of blanks, and the webhook has one thread. The API server
// checks the size of annotations (256 KiB) only after us.
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text[start] === ' ') start++;
  while (end > start && text[end - 1] === ' ') end--;
  return text.slice(start, end);
}
