// Which tokens a request means, never more than its caller reaches.
import type { TokenFilter } from '../../store/store.ts';
import type { Reach } from './authorization.ts';
import { RequestRefused } from './errors.ts';

/** As requests name the members. */
export interface AskedTokens {
  readonly subject?: string | undefined;
  readonly cluster?: string | undefined;
  readonly namespace?: string | undefined;
  readonly serviceAccount?: string | undefined;
  readonly pod?: string | undefined;
  readonly podUid?: string | undefined;
  readonly role?: string | undefined;
  readonly audience?: string | undefined;
}

/** As the store names them. */
export function toFilter({ pod, ...asked }: AskedTokens): TokenFilter {
  const stated = Object.entries({ ...asked, podName: pod }).filter(
    ([, value]) => value !== undefined,
  );
  return Object.fromEntries(stated);
}

/**
 * Narrowed to what the caller reaches.
 * @throws RequestRefused `document_invalid` where another cluster or namespace was asked for than that
 */
export function limitFilter<T extends { readonly cluster?: string; readonly namespace?: string }>(
  reach: Reach,
  filter: T,
): T {
  if (reach.everywhere) return filter;
  for (const field of ['cluster', 'namespace'] as const) {
    if ((filter[field] ?? reach[field]) !== reach[field])
      throw new RequestRefused('document_invalid', [
        { path: field, problem: 'must be the one that the caller has a right for' },
      ]);
  }
  return { ...filter, cluster: reach.cluster, namespace: reach.namespace };
}
