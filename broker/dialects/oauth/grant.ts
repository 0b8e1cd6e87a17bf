// What every grant module exports (`grantType`, `parameters`, `handle`), so that the folder grants/ is a table.
import type { Desk, RequestContext, Settled } from '../../desk.ts';
import type { Form } from './form.ts';
import * as tokenExchange from './grants/token-exchange.ts';

export interface GrantContext {
  readonly desk: Desk;
  readonly context: RequestContext;
}

export interface GrantModule {
  readonly grantType: string;
  /** Names this grant reads; others are ignored. */
  readonly parameters: readonly string[];
  readonly handle: (form: Form, grant: GrantContext) => Promise<Settled>;
}

export const GRANTS: readonly GrantModule[] = [tokenExchange];
