// Finding the tokens that a filter means among a million: by an index where there is one, otherwise in windows of so many
// rows, newest first, so that no step holds up an embedded database, and others have their turn in between.
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { type Core, parseCursor, toCursor, toPage } from './core.ts';
import type { Tables, TokenRow } from './schema.ts';
import type { Page, PageOf, StoredToken, TokenFilter } from './store.ts';
import { toConditions, toToken } from './token-rows.ts';

/** Milliseconds of a scan. */
const WINDOW_ROWS = 10_000;

/** Rows whose `seq` is at least `from` and below `below`. */
export interface Window {
  readonly from: number;
  readonly below: number;
}

/** `+ 0` keeps planners from the index by time: nearly all rows are live. */
export function isLiveAt(now: number) {
  return sql<boolean>`expires_at + 0 > ${now}`;
}

/** Windows that together hold every row below `below` that can fit, newest first. */
export async function* toWindows(
  core: Core,
  filter: TokenFilter,
  below: number,
): AsyncGenerator<Window> {
  if (hasIndex(filter)) {
    yield { from: 0, below };
    return;
  }
  for (let end = below; end > 0; ) {
    const from = await core.read((db) => findWindowStart(db, end));
    yield { from, below: end };
    end = from;
    await yieldToOthers();
  }
}

/** What the migrations made indexes for; a token is one of few there. */
function hasIndex({ subject, namespace, podUid, kind }: TokenFilter): boolean {
  return (
    subject !== undefined || namespace !== undefined || podUid !== undefined || kind === 'static'
  );
}

async function findWindowStart(db: Kysely<Tables>, below: number): Promise<number> {
  const first = await db
    .selectFrom('coatcheck_tokens')
    .select('seq')
    .where('seq', '<', below)
    .orderBy('seq', 'desc')
    .limit(1)
    .offset(WINDOW_ROWS - 1)
    .executeTakeFirst();
  return first?.seq ?? 0;
}

/** @throws StoreError not_found where the page is none of ours */
export async function listTokens(
  core: Core,
  { filter, page, now }: { filter: TokenFilter; page: Page; now: number },
): Promise<PageOf<StoredToken>> {
  const { limit, after } = page;
  const [below = Number.MAX_SAFE_INTEGER] = after === undefined ? [] : parseCursor(after, 1);
  const rows: TokenRow[] = [];
  for await (const window of toWindows(core, filter, below)) {
    const wanted = limit + 1 - rows.length;
    rows.push(...(await core.read((db) => readWindow(db, { filter, window, now, wanted }))));
    if (rows.length > limit) break;
  }
  return toPage(rows, limit, { toItem: toToken, toNext: ({ seq }) => toCursor(seq) });
}

function readWindow(
  db: Kysely<Tables>,
  options: { filter: TokenFilter; window: Window; now: number; wanted: number },
): Promise<TokenRow[]> {
  const { filter, window, now, wanted } = options;
  return db
    .selectFrom('coatcheck_tokens')
    .selectAll()
    .where((eb) => toConditions(eb, filter))
    .where(isLiveAt(now))
    .where('seq', '<', window.below)
    .where('seq', '>=', window.from)
    .orderBy('seq', 'desc')
    .limit(wanted)
    .execute();
}
