// From what was typed to the command that is meant: one word, or a noun and a verb. Misspelt words get a hint.
import type { Command } from '../common/command.ts';
import { didYouMean } from '../common/spelling.ts';
import type { Entry } from './entry.ts';

/** `text` is a help text that was asked for; `problem` is what was typed wrongly. */
export type Dispatched =
  | { readonly kind: 'run'; readonly command: Command; readonly args: readonly string[] }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'wrong'; readonly problem: string };

const HELP = ['--help', '-h'];
const ALIASES: Readonly<Record<string, string>> = { '--version': 'version', '-v': 'version' };

/** @param renderTop the text of `coatcheck --help` */
export async function dispatch(
  entries: readonly Entry[],
  args: readonly string[],
  renderTop: () => string,
): Promise<Dispatched> {
  const [first, ...rest] = args;
  if (first === undefined) return { kind: 'wrong', problem: renderTop() };
  // `coatcheck help token create` is `coatcheck token create --help`.
  if (first === 'help' || HELP.includes(first))
    return rest.length === 0
      ? { kind: 'help', text: renderTop() }
      : dispatch(entries, [...rest, '--help'], renderTop);
  return find(entries, [ALIASES[first] ?? first, ...rest], []);
}

async function find(
  entries: readonly Entry[],
  [word = '', ...rest]: readonly string[],
  above: readonly string[],
): Promise<Dispatched> {
  const entry = entries.find(({ name }) => name === word);
  const path = [...above, word];
  if (!entry) {
    const names = entries.map(({ name }) => name);
    const place = ['coatcheck', ...above].join(' ');
    return {
      kind: 'wrong',
      problem: `${place}: there is no command of this name${didYouMean(word, names)}\nSee: ${place} --help\n`,
    };
  }
  const { verbs, load } = entry;
  const isVerb = verbs?.some(({ name }) => name === rest[0]) ?? false;
  if (verbs && (isVerb || !load)) {
    const [next] = rest;
    if (next === undefined) return { kind: 'wrong', problem: renderNoun(entry, path) };
    if (HELP.includes(next)) return { kind: 'help', text: renderNoun(entry, path) };
    return find(verbs, rest, path);
  }
  if (!load) throw new TypeError(`the command ${path.join(' ')} has neither verbs nor work`);
  const command = await load();
  if (rest.some((argument) => HELP.includes(argument)))
    return { kind: 'help', text: command.help() };
  return { kind: 'run', command, args: rest };
}

/** The text of `coatcheck token --help`. */
export function renderNoun({ describe, verbs = [] }: Entry, path: readonly string[]): string {
  const name = ['coatcheck', ...path].join(' ');
  const width = Math.max(...verbs.map((verb) => verb.name.length)) + 2;
  return `${name}: ${describe}

Usage: ${name} <command> [flags]
       ${name} <command> --help

${verbs.map((verb) => `  ${verb.name.padEnd(width)}${verb.describe}`).join('\n')}
`;
}
