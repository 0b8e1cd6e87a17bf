// The name an audience goes by in paths and in annotation keys: `<mount root>/<name>/token`, `role.<name>`.
// People's manifests hold these names, so the rule never changes.
import { createHash } from 'node:crypto';

// An annotation key's name part has 63 characters at most; `containers.` takes eleven.
export const MAX_AUDIENCE_NAME_LENGTH = 52;

/** What {@link isAudienceName} allows, as a sentence's end: "must be …". */
export const AUDIENCE_NAME_RULE = `a DNS label: lower-case letters, digits and inner hyphens, at most ${MAX_AUDIENCE_NAME_LENGTH} characters`;

export const AUDIENCE_NAME = /^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/;
const HASH_LENGTH = 8;

/** Whether a text may name an audience: a DNS label of at most {@link MAX_AUDIENCE_NAME_LENGTH} characters. */
export function isAudienceName(text: string): boolean {
  return AUDIENCE_NAME.test(text);
}

/**
 * The name of an audience that was given none: the audience itself where it can be a name, else its readable part and
 * eight hex digits of its SHA-256 (`https://api.example.io/v1` → `https-api-example-io-v1-` and the digits).
 */
export function toAudienceName(audience: string): string {
  if (isAudienceName(audience)) return audience;
  const hash = createHash('sha256').update(audience).digest('hex').slice(0, HASH_LENGTH);
  const slug = audience
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_AUDIENCE_NAME_LENGTH - HASH_LENGTH - 1)
    .replace(/^-+|-+$/g, '');
  return slug === '' ? `audience-${hash}` : `${slug}-${hash}`;
}
