// `coatcheck completion`: scripts for shells, made from the table of commands and the flags in their help texts. They hold
// words alone and start nothing.
import type { Command } from '../../common/command.ts';
import { EXIT_BAD_SETTINGS } from '../../common/settings.ts';
import { didYouMean } from '../../common/spelling.ts';
import type { Entry } from '../entry.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** Words that may follow the words before: `token` → create, list …; `token list` → its flags. */
interface Place {
  /** Joined by blanks; empty for the command itself. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly describe: string }[];
}

export function createCommand(entries: () => readonly Entry[]): Command {
  return {
    describe: 'print a completion script for a shell',
    help: () => `coatcheck completion bash|zsh|fish

Prints a script that completes commands and flags.

  source <(coatcheck completion bash)                                      # this bash; or into ~/.bashrc
  coatcheck completion zsh > "\${fpath[1]}/_coatcheck"                      # zsh, for ever
  coatcheck completion fish > ~/.config/fish/completions/coatcheck.fish    # fish, for ever

Exit codes: 0 done, 2 used wrongly.
`,
    run: async ([given = '', ...rest], io) => {
      const shell = SHELLS.find((one) => one === given);
      if (!shell || rest.length > 0) {
        io.stderr(
          `coatcheck completion: it takes one of ${SHELLS.join(', ')}${didYouMean(given, SHELLS)}\n`,
        );
        return EXIT_BAD_SETTINGS;
      }
      io.stdout(render(shell, await findPlaces(entries())));
      return 0;
    },
  };
}

async function findPlaces(entries: readonly Entry[], path = ''): Promise<readonly Place[]> {
  const places: Place[] = [
    { path, words: entries.map(({ name, describe }) => ({ word: name, describe })) },
  ];
  for (const { name, load, verbs } of entries) {
    const below = path === '' ? name : `${path} ${name}`;
    const flags = load ? findFlags((await load()).help()) : [];
    const deeper = verbs ? await findPlaces(verbs, below) : [];
    const [own, ...others] = deeper;
    places.push({ path: below, words: [...(own?.words ?? []), ...flags] }, ...others);
  }
  return places;
}

/** From the list of flags, as describeFlags writes it. */
function findFlags(help: string): Place['words'] {
  const [, list = ''] = help.split('\nFlags\n');
  return [...list.matchAll(/^ {2}(?:-\w, )?(--[a-z0-9-]+)(?: <[^>]*>)?\s+([^\n]*)/gm)].map(
    ([, word = '', describe = '']) => ({
      word,
      describe: describe.replace(/ \((?:[^()]|\([^()]*\))*\)(?: \[[A-Z_]+\])?$/, ''),
    }),
  );
}

function render(shell: Shell, places: readonly Place[]): string {
  if (shell === 'fish') return renderFish(places);
  const cases = places
    .map(
      ({ path, words }) => `    '${path}') words='${words.map(({ word }) => word).join(' ')}' ;;`,
    )
    .join('\n');
  return shell === 'bash' ? renderBash(cases) : renderZsh(places);
}

/** Flags and their values do not count as words of the path; a value that looks like a verb is rare and harmless. */
function renderBash(cases: string): string {
  return `# bash completion of coatcheck; made by: coatcheck completion bash
_coatcheck() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words i
  for ((i = 1; i < COMP_CWORD && i < 3; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && break
    path=\${path:+$path }$word
  done
  while :; do
    case $path in
${cases}
    *) [[ $path == *' '* ]] || return; path=\${path% *}; continue ;;
    esac
    break
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _coatcheck coatcheck
`;
}

function renderZsh(places: readonly Place[]): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const cases = places
    .map(
      ({ path, words }) =>
        `    ${quote(path)}) words=(${words
          .map(({ word, describe }) => quote(`${word}:${describe.replaceAll(':', '\\:')}`))
          .join(' ')}) ;;`,
    )
    .join('\n');
  return `#compdef coatcheck
# zsh completion of coatcheck; made by: coatcheck completion zsh
_coatcheck() {
  local path_words='' word i
  local -a words_given=("\${words[@]}") words
  for ((i = 2; i < CURRENT && i < 4; i++)); do
    word=\${words_given[i]}
    [[ $word == -* ]] && break
    path_words=\${path_words:+$path_words }$word
  done
  while :; do
    case $path_words in
${cases}
    *) [[ $path_words == *' '* ]] || return; path_words=\${path_words% *}; continue ;;
    esac
    break
  done
  _describe coatcheck words || _files
}
if [[ $funcstack[1] == _coatcheck ]]; then _coatcheck "$@"; else compdef _coatcheck coatcheck; fi
`;
}

function renderFish(places: readonly Place[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = places.flatMap(({ path, words }) =>
    words.map(({ word, describe }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`;
      return `complete -c coatcheck -f -n ${quote(`__coatcheck_at ${quote(path)}`)} ${what} -d ${quote(describe)}`;
    }),
  );
  return `# fish completion of coatcheck; made by: coatcheck completion fish
function __coatcheck_at
    set -l words (commandline -opc)
    set -l path
    for word in $words[2..3]
        string match -q -- '-*' $word; and break
        set -a path $word
    end
    set -l deepest (string join ' ' -- $path)
    contains -- "$deepest" ${places.map(({ path }) => quote(path)).join(' ')}; or set deepest "$path[1]"
    test "$deepest" = "$argv[1]"
end
${lines.join('\n')}
`;
}
