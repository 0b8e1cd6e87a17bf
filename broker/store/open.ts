// Which store a broker has: the text of its setting, parsed, and the store made from it. The database's code is loaded
// only where there is one.
import type { Clock, Random } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { Secret } from '../../common/secret.ts';
import type { DatabaseStore } from './database.ts';

export type StoreChoice =
  | { readonly kind: 'none' }
  | { readonly kind: 'sqlite'; readonly file: string }
  | { readonly kind: 'postgres'; readonly url: Secret };

const POSTGRES = /^postgres(ql)?:\/\/[^/]/;

/** @throws Error that says what is allowed and quotes nothing: the text may hold a password */
export function parseStoreChoice(text: string): StoreChoice {
  if (text === 'none') return { kind: 'none' };
  const file = /^sqlite:(.+)$/.exec(text)?.[1];
  // `sqlite:///var/…` is how others write it; `:memory:` would lose what it acknowledged.
  if (file !== undefined && !file.startsWith(':') && !/[\0\n?]/.test(file))
    return { kind: 'sqlite', file: file.replace(/^\/\/(?=\/)/, '') };
  if (POSTGRES.test(text) && URL.canParse(text)) return { kind: 'postgres', url: new Secret(text) };
  throw new Error('must be none, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE');
}

export interface OpenStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Of this process: replicas must differ. */
  readonly newId: () => string;
  readonly keepDecisionsSeconds: number;
  readonly maxDecisions: number;
}

/**
 * A store that is to be started. Nothing is opened yet.
 * @throws StoreError conflict where the URL cannot be used
 */
export async function openStore(
  choice: Exclude<StoreChoice, { kind: 'none' }>,
  options: OpenStoreOptions,
): Promise<DatabaseStore> {
  const { createDatabaseStore } = await import('./database.ts');
  const around = { ...options, holder: options.newId() };
  if (choice.kind === 'sqlite') {
    const { createSqliteDialect } = await import('./dialect-sqlite.ts');
    return createDatabaseStore(createSqliteDialect({ ...options, file: choice.file }), around);
  }
  const { createPostgresDialect } = await import('./dialect-postgres.ts');
  return createDatabaseStore(createPostgresDialect({ ...options, url: choice.url }), around);
}
