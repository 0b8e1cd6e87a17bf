// What a one-shot command of the CLI gets from the outside, so that it can be run in a test as it runs in a shell.

export interface CommandIo {
  stdout(text: string): void;
  stderr(text: string): void;
  /** All of standard input as text. */
  stdin(): Promise<string>;
  /** Asks the person at the terminal for one line, undefined at its end; absent where there is nobody. */
  readonly ask?: (question: string) => Promise<string | undefined>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** One entry of the CLI's table; programs export theirs from `<program>/commands/`. */
export interface Command {
  /** One sentence for the list in `coatcheck --help`. */
  readonly describe: string;
  /** The whole text of `coatcheck <command> --help`, flags included. */
  readonly help: () => string;
  /** Runs to the end; resolves to the exit code. Exit codes: 0 done, 1 refused or failed, 2 used wrongly. */
  readonly run: (args: readonly string[], io: CommandIo) => Promise<number>;
}

/** `-f` may be repeated and may be followed by several files, as in kubectl: the flag itself means nothing more. */
export function withoutFileFlags(args: readonly string[]): readonly string[] {
  return args.flatMap((argument) => {
    if (argument === '-f' || argument === '--filename') return [];
    return [/^(?:-f|--filename)=(.+)$/s.exec(argument)?.[1] ?? argument];
  });
}
