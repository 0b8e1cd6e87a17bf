// The closed table of why the webhook refuses a pod or cannot answer: the code people search for (docs/annotations.md),
// the HTTP status in the AdmissionResponse, and what it means. 4xx is the author's to mend, 5xx is ours.

export interface DenialEntry {
  readonly status: 400 | 422 | 500;
  /** For the documents: what is wrong, as a sentence's end after "the pod is refused because". */
  readonly meaning: string;
}

export const DENIALS = {
  annotation_unknown: { status: 422, meaning: 'a key under the prefix is not one of ours' },
  annotation_not_text: {
    status: 422,
    meaning: 'an annotation of ours has a value that is not a string',
  },
  audience_missing: { status: 422, meaning: 'there is a key under the prefix but no audience' },
  audience_malformed: {
    status: 422,
    meaning: 'an audience holds characters that are not allowed, or is empty or too long',
  },
  audience_repeated: { status: 422, meaning: 'an audience is asked for twice' },
  audience_reserved: {
    status: 422,
    meaning: 'the audience belongs to the API server, to a cloud or to Coatcheck itself',
  },
  audience_too_many: { status: 422, meaning: 'more than eight audiences are asked for' },
  audience_name_malformed: {
    status: 422,
    meaning:
      'the name after `audience.`, `role.` or `containers.` is no DNS label of at most 52 characters',
  },
  audience_name_repeated: { status: 422, meaning: 'two audiences go by the same name' },
  audience_name_unknown: {
    status: 422,
    meaning: 'the name after `role.` or `containers.` is not that of an audience of this pod',
  },
  mode_malformed: { status: 422, meaning: 'the mode is neither `init` nor `refresh`' },
  role_malformed: { status: 422, meaning: 'the role is not a role name' },
  role_ambiguous: {
    status: 422,
    meaning:
      'plain `role` stands beside several audiences, or beside `role.<name>` for the same one',
  },
  init_order_malformed: { status: 422, meaning: 'the order is neither `first` nor `last`' },
  token_expiration_malformed: {
    status: 422,
    meaning: 'the lifetime is not a whole number of seconds from 600 to 86400',
  },
  deadline_malformed: {
    status: 422,
    meaning: 'the deadline is not a whole number of seconds from 1 to 600',
  },
  containers_malformed: {
    status: 422,
    meaning: 'the list of containers is empty, has an empty item, or names one twice',
  },
  container_unknown: { status: 422, meaning: 'the pod has no container of that name' },
  container_too_early: {
    status: 422,
    meaning: 'that container runs before the exchange, so there is no token yet',
  },
  container_none: {
    status: 422,
    meaning: "no container would get the token: all are on the operator's skip list",
  },
  mount_conflict: {
    status: 422,
    meaning:
      'a container already mounts something at the mount root, below it, or read-only above it',
  },
  reserved_volume_mounted: {
    status: 422,
    meaning: 'a container mounts one of our volumes where it does not belong',
  },
  reserved_name_taken: {
    status: 422,
    meaning: 'one of our names stands twice, or where only an app container can be',
  },
  windows_pod: { status: 422, meaning: 'the pod is for Windows nodes, which are not supported' },
  pod_malformed: {
    status: 422,
    meaning: 'the pod is not one: a part of it has the wrong JSON type',
  },
  review_malformed: {
    status: 400,
    meaning: 'the AdmissionReview itself is unusable; not a fault of the pod',
  },
  internal: {
    status: 500,
    meaning: "the webhook failed; the reason is in its log, under the request's uid",
  },
} as const satisfies Record<string, DenialEntry>;

export type DenialCode = keyof typeof DENIALS;

/** One reason to refuse a pod. `message` names the annotation (or the place) and what is allowed. */
export interface Denial {
  readonly code: DenialCode;
  readonly message: string;
  /** The whole key, where an annotation is at fault. */
  readonly annotation?: string;
}

// A pod can be wrong in thousands of places; people read a few, and a header or an Event holds little more.
export const MOST_TOLD = 10;

/** One text of several denials, and the status that fits them: ours (500) before theirs. */
export function toStatus(denials: readonly Denial[]): { code: number; message: string } {
  const told = denials.slice(0, MOST_TOLD).map(({ code, message }) => `${message} [${code}]`);
  if (denials.length > MOST_TOLD) told.push(`and ${denials.length - MOST_TOLD} more`);
  const code = Math.max(...denials.map((denial) => DENIALS[denial.code].status));
  return { code, message: `coatcheck: ${told.join('; ')}` };
}

const LONGEST_QUOTE = 60;

/** A stranger's text inside a message: quoted, cut, and everything escaped that is not printable ASCII. */
export function quote(text: string): string {
  const cut = text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text;
  // JSON leaves DEL and all of Unicode as it is; a terminal turns some of it into something else than was written.
  return JSON.stringify(cut).replace(
    /[^\x20-\x7e…]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A name inside a message: as it is where it is plain and short, else quoted. Nothing has validated the pod yet. */
export function toShown(name: string): string {
  return /^[\x21-\x7e]{1,100}$/.test(name) ? name : quote(name);
}
