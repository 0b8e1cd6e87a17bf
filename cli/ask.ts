// Asks the person at the terminal for one line. The question goes to standard error: standard output is for results.
import { createInterface } from 'node:readline/promises';

/** Resolves to undefined where the person ends the input instead. */
export async function ask(question: string): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<undefined>((resolve) => {
    lines.once('close', () => resolve(undefined));
  });
  try {
    return await Promise.race([lines.question(question), closed]);
  } finally {
    lines.close();
  }
}
