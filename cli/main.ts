#!/usr/bin/env node
// The command `coatcheck`: a table from words to the module that does the work, imported only when asked for.
// Programs stay apart: commands.ts, role-commands.ts and dev/ are the only places that know more than one of them.
import { isatty } from 'node:tty';
import { processEnvironment } from '../common/settings.ts';
import { COMMANDS, renderHelp } from './commands.ts';
import { dispatch } from './dispatch.ts';

const EXIT_USED_WRONGLY = 2;

async function main(args: readonly string[]): Promise<number> {
  const wanted = await dispatch(COMMANDS, args, renderHelp);
  if (wanted.kind === 'help') {
    process.stdout.write(wanted.text);
    return 0;
  }
  if (wanted.kind === 'wrong') {
    (args.length === 0 ? process.stdout : process.stderr).write(wanted.problem);
    return EXIT_USED_WRONGLY;
  }
  return wanted.command.run(wanted.args, {
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    stdin: readStandardInput,
    ...(isatty(0) &&
      isatty(2) && { ask: async (question) => (await import('./ask.ts')).ask(question) }),
    environment: processEnvironment(),
  });
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

// `coatcheck … | head`: a reader that has seen enough is no failure worth a stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// exitCode and not exit(): what was written to a pipe must get out first. Servers resolve when they are up and stay.
process.exitCode = await main(process.argv.slice(2));
