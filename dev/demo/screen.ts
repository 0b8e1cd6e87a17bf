// How the demo speaks: numbered sections, indented blocks, colour only for a person at a terminal.

export interface Screen {
  /** Starts a section. */
  title(text: string): void;
  /** One or more plain lines. */
  say(...lines: readonly string[]): void;
  /** Quoted text (YAML, JSON, output), indented. */
  block(text: string): void;
  /** A text that stands out, for use inside {@link block}. */
  mark(text: string): string;
  /** A text that steps back. */
  dim(text: string): string;
}

const INDENT = '   ';

export function createScreen(write: (text: string) => void, hasColors: boolean): Screen {
  const paint = (code: number) => (text: string) =>
    hasColors ? `\u001b[${code}m${text}\u001b[0m` : text;
  const [bold, dim, green] = [paint(1), paint(2), paint(32)];
  let sections = 0;
  return {
    title: (text) => write(`\n${bold(`${++sections}. ${text}`)}\n`),
    say: (...lines) => write(`${lines.map((line) => `${INDENT}${line}`).join('\n')}\n`),
    block: (text) => {
      const lines = text.trimEnd().split('\n');
      write(`\n${lines.map((line) => `${INDENT}  ${line}`).join('\n')}\n\n`);
    },
    mark: green,
    dim,
  };
}
