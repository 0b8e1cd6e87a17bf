// What a route of the admin API is: one entry of a table from which come the handlers, the OpenAPI document and
// docs/admin-api.md. A route says who may, what it takes and what it answers; its function does only its work.
import type { z } from 'zod';
import type { Problem } from '../../../common/documents.ts';
import { checkValue } from '../../../common/documents.ts';
import type { Resource, Verb } from '../../policies.ts';
import type { Reach } from './authorization.ts';
import type { AdminCaller } from './caller.ts';
import { checkInPieces, type LongLists } from './check-in-pieces.ts';
import type { AdminDeps } from './deps.ts';
import { type AdminReason, RequestRefused } from './errors.ts';

/**
 * `public`: everybody. `caller`: whoever authenticated. `own`: the caller's own token, by policy `default` or any other
 * built-in one that allows it. `controller`: that of the cluster in the path, or policy `root`. Otherwise a right; one that is `namespaced` may also be held for one namespace alone.
 */
export type Needs =
  | 'public'
  | 'caller'
  | 'own'
  | 'controller'
  | { readonly resource: Resource; readonly verb: Verb; readonly namespaced?: boolean };

/** What of a request reaches the work of a route. */
export interface Call<Params, Query, Body> {
  readonly caller: AdminCaller;
  readonly reach: Reach;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** The version in `If-Match`, where the route takes one. */
  readonly ifMatch: number | undefined;
  readonly correlationId: string;
  /** For controllers alone (admit.ts). */
  readonly keysGeneration?: number | undefined;
}

export interface AdminAnswer {
  /** 200 unless stated. */
  readonly status?: number;
  readonly body: unknown;
  /** For the audit record: the name of what was changed, and more facts; no token, no secret. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

type Shape = z.ZodObject;
type None = Readonly<Record<string, never>>;
type InputOf<T> = T extends z.ZodType ? z.output<T> : None;

interface RouteTexts {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With OpenAPI's `{name}`. */
  readonly path: string;
  /** Unique; also the audit record's `action`. */
  readonly operation: string;
  readonly summary: string;
  readonly description?: string;
  readonly needs: Needs;
  /** Recorded in the audit, allowed or not: every write. */
  readonly audited: boolean;
  readonly needsStore: boolean;
  readonly takesIfMatch?: boolean;
  /** Of the body, so long that they are checked in pieces. */
  readonly longLists?: LongLists;
  /** 256 KiB unless stated. */
  readonly maxBodyBytes?: number;
  readonly answers: Readonly<Record<number, { description: string; schema: z.ZodType }>>;
  /** Reasons besides those that every route of its kind has. */
  readonly refusals?: readonly AdminReason[];
}

export interface RouteSpec<P extends Shape, Q extends Shape, B extends z.ZodType>
  extends RouteTexts {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly run: (
    call: Call<InputOf<P>, InputOf<Q>, InputOf<B>>,
    deps: AdminDeps,
  ) => Promise<AdminAnswer>;
}

/** What came in, not yet checked. */
export interface RawInput {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export interface AdminRoute extends RouteTexts {
  readonly params?: Shape;
  readonly query?: Shape;
  readonly body?: z.ZodType;
  /** Checks the input, then does the work. @throws RequestRefused `document_invalid` with every problem */
  readonly handle: (
    raw: RawInput,
    call: Omit<Call<unknown, unknown, unknown>, 'params' | 'query' | 'body'>,
    deps: AdminDeps,
  ) => Promise<AdminAnswer>;
}

/** An entry of the table, from one whose types are known. */
export function defineRoute<
  P extends Shape = Shape,
  Q extends Shape = Shape,
  B extends z.ZodType = z.ZodType,
>(spec: RouteSpec<P, Q, B>): AdminRoute {
  const { run, ...route } = spec;
  return {
    ...route,
    handle: async (raw, call, deps) => {
      const problems: Problem[] = [];
      const query = toObject(raw.query, problems);
      const params = check(spec.params, raw.params, problems);
      const checkedQuery = check(spec.query, spec.query ? query : {}, problems);
      if (!spec.query) problems.push(...Object.keys(query).map(toUnknown));
      const body = await checkBody(spec, raw.body, problems);
      if (problems.length > 0) throw new RequestRefused('document_invalid', problems);
      return run(
        {
          ...call,
          params: params as InputOf<P>,
          query: checkedQuery as InputOf<Q>,
          body: body as InputOf<B>,
        },
        deps,
      );
    },
  };
}

async function checkBody(
  { body: schema, longLists }: Pick<RouteSpec<Shape, Shape, z.ZodType>, 'body' | 'longLists'>,
  given: unknown,
  problems: Problem[],
): Promise<unknown> {
  if (!schema || !longLists) return check(schema, schema ? given : {}, problems);
  problems.push(...(await checkInPieces(schema, given, longLists)));
  return given;
}

function check(schema: z.ZodType | undefined, value: unknown, problems: Problem[]): unknown {
  if (!schema) return {};
  const checked = checkValue(schema, value);
  if (checked.ok) return checked.value;
  problems.push(...checked.problems);
  return {};
}

/** A parameter given twice is refused: two readers of such a request may each take another value. */
function toObject(query: URLSearchParams, problems: Problem[]): Record<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of query) {
    if (values.has(name))
      problems.push({ path: name.slice(0, 100), problem: 'may be given only once' });
    values.set(name, value);
  }
  return Object.fromEntries(values);
}

function toUnknown(name: string): Problem {
  return { path: '', problem: `unknown field ${name.slice(0, 100)}` };
}
