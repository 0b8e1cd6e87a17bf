// What every PUT of a document does: which version the caller means, and whether anything changes at all.
import { RequestRefused } from './errors.ts';

/** The version that the request names, by `version` or `If-Match`. @throws RequestRefused where the two differ */
export function findExpected({
  query,
  ifMatch,
}: {
  readonly query: { readonly version?: number | undefined };
  readonly ifMatch: number | undefined;
}): number | undefined {
  if (query.version === undefined || ifMatch === undefined || query.version === ifMatch)
    return query.version ?? ifMatch;
  throw new RequestRefused('document_invalid', [
    { path: 'version', problem: 'must be that of If-Match' },
  ]);
}

/** Members in any order: a document that was only written otherwise is the same. */
export function isSameJson(a: unknown, b: unknown): boolean {
  return toCanonical(a) === toCanonical(b);
}

function toCanonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
