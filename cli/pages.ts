// Lists of the admin API, page after page.
import type { ListOf } from '../common/protocol/admin-api.ts';
import type { ApiClient, Query } from './client.ts';

const PAGE = 500;

/** At most `limit` items, and whether there are more. */
export async function listAll<T>(
  client: ApiClient,
  path: string,
  { query, limit }: { query: Query; limit: number },
): Promise<{ readonly items: readonly T[]; readonly hasMore: boolean }> {
  const items: T[] = [];
  let after: string | undefined;
  do {
    const page: ListOf<T> = await client.send({
      method: 'GET',
      path: [path],
      query: { ...query, limit: Math.min(PAGE, limit - items.length), after },
    });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined && items.length < limit);
  return { items, hasMore: after !== undefined };
}
