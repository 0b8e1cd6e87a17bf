// What the flags of `coatcheck dev` name: the store, the administrator's token, role and receivers files. Messages name
// the flag and the file, and quote nothing that may be a secret.
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { findBootstrapProblem, readBootstrapToken } from '../broker/bootstrap.ts';
import { parseStoreChoice, type StoreChoice } from '../broker/store/open.ts';
import type { Secret } from '../common/secret.ts';

const MAX_CHARACTERS = 512;

export interface GivenFiles {
  readonly roles?: string | undefined;
  readonly receivers?: string | undefined;
  readonly store?: StoreChoice | undefined;
  readonly storeFile?: string | undefined;
  readonly bootstrapToken?: Secret | undefined;
  readonly bootstrapTokenFile?: string | undefined;
}

/** A path that leads nowhere is more often misspelt than meant. */
export function findPathProblems({ roles, receivers }: GivenFiles): string[] {
  const problems: string[] = [];
  if (roles !== undefined && !existsSync(roles))
    problems.push('--roles must be a folder of role files, or one; there is nothing at that path');
  if (receivers !== undefined && !existsSync(receivers))
    problems.push('--receivers must be a file; there is nothing at that path');
  return problems;
}

/** @throws Error; undefined: none was given */
export function readStore({ store, storeFile }: GivenFiles): StoreChoice | undefined {
  if (store && storeFile !== undefined)
    throw new Error('--store and --store-file exclude each other');
  const choice = storeFile === undefined ? store : readStoreFile(storeFile);
  if (choice?.kind === 'sqlite' && !existsSync(dirname(choice.file)))
    throw new Error('--store names a file in a folder that does not exist');
  return choice;
}

function readStoreFile(file: string): StoreChoice {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new Error(`--store-file cannot be read (${code})`);
  }
  try {
    return parseStoreChoice(text);
  } catch (error) {
    throw new Error(`--store-file ${(error as Error).message}`);
  }
}

/**
 * The administrator's token, where one was given. In a store of its own any text will do (clients of other makers say
 * `root`); what stays in a database must be as hard to guess as a real broker's.
 * @throws Error
 */
export function readBootstrap(
  { bootstrapToken: given, bootstrapTokenFile: file }: GivenFiles,
  store: { readonly kind: string },
): Secret | undefined {
  if (given && file !== undefined)
    throw new Error(
      'the bootstrap token and --bootstrap-token-file exclude each other (COATCHECK_BOOTSTRAP_TOKEN counts too)',
    );
  const isGiven = given !== undefined || file !== undefined;
  if (isGiven && store.kind === 'none')
    throw new Error('a bootstrap token needs a store: with --store none nobody remembers it');
  if (!isGiven && store.kind === 'postgres')
    throw new Error(
      'with --store postgres://… the administrator outlives this process: give the token (COATCHECK_BOOTSTRAP_TOKEN or --bootstrap-token-file)',
    );
  if (file !== undefined) return readBootstrapToken(file);
  const problem = given && findProblem(given.reveal(), store.kind === 'temporary');
  if (problem !== undefined) throw new Error(`the bootstrap token ${problem}`);
  return given;
}

function findProblem(text: string, isTemporary: boolean): string | undefined {
  const problem = findBootstrapProblem(text);
  const isUsable = /^[\x21-\x7e]+$/.test(text) && !text.startsWith('cc_');
  return isTemporary && isUsable && text.length <= MAX_CHARACTERS ? undefined : problem;
}
