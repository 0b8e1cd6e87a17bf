// A body with very long lists, held against its schema piece by piece: all at once would keep every other request waiting.
import type { z } from 'zod';
import { checkValue, type Problem } from '../../../common/documents.ts';
import { breathe } from '../../breathe.ts';

/** Some milliseconds of work for zod. */
const PIECE = 5000;

/** What a route says of such a body. */
export interface LongLists {
  readonly names: readonly string[];
  /** The schema's own bound sees pieces alone. */
  readonly maxItems: number;
}

/**
 * @returns the problems, none where the body is as the schema wants it; its lists then hold what they held before: the
 *   schema of an item must not turn it into something else
 */
export async function checkInPieces(
  schema: z.ZodType,
  body: unknown,
  { names, maxItems }: LongLists,
): Promise<readonly Problem[]> {
  const lists = names.flatMap((name) => {
    const list = (Object(body) as Readonly<Record<string, unknown>>)[name];
    return Array.isArray(list) && list.length > PIECE ? [{ name, list: list as unknown[] }] : [];
  });
  const tooLong = lists.filter(({ list }) => list.length > maxItems);
  if (tooLong.length > 0)
    return tooLong.map(({ name }) => ({
      path: name,
      problem: `must be at most ${maxItems} items`,
    }));
  const firsts = Object.fromEntries(lists.map(({ name, list }) => [name, list.slice(0, PIECE)]));
  // What is no long list is checked with the first pieces.
  const short = lists.length > 0 ? { ...(body as object), ...firsts } : body;
  const checked = checkValue(schema, short);
  if (!checked.ok) return checked.problems;
  const few = Object.fromEntries(lists.map(({ name, list }) => [name, list.slice(0, 1)]));
  for (const { name, list } of lists) {
    for (let at = PIECE; at < list.length; at += PIECE) {
      await breathe();
      const piece = { ...(body as object), ...few, [name]: list.slice(at, at + PIECE) };
      const ofPiece = checkValue(schema, piece);
      if (!ofPiece.ok) return ofPiece.problems.map((problem) => moveBy(problem, name, at));
    }
  }
  return [];
}

/** `pods[3]` of a piece is `pods[5003]` of the body. */
function moveBy({ path, problem }: Problem, name: string, offset: number): Problem {
  const [, list, index = '', rest = ''] = /^(\w+)\[(\d+)\](.*)$/.exec(path) ?? [];
  if (list !== name) return { path, problem };
  return { path: `${name}[${Number(index) + offset}]${rest}`, problem };
}
