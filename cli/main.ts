#!/usr/bin/env node
// The command `coatcheck`: a table from subcommand to the module that does the work, imported only when asked for.
// Programs stay apart: this file and dev/ are the only places that know more than one of them.
import type { Command } from '../common/command.ts';
import { processEnvironment } from '../common/settings.ts';
import { didYouMean } from '../common/spelling.ts';
import { COMMANDS, renderHelp } from './commands.ts';

const EXIT_USED_WRONGLY = 2;

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const topic = COMMANDS.find((entry) => entry.name === args[0]);
    process.stdout.write(topic ? (await topic.load()).help() : renderHelp());
    return name === undefined ? EXIT_USED_WRONGLY : 0;
  }
  const wanted = name === '--version' || name === '-v' ? 'version' : name;
  const entry = COMMANDS.find((candidate) => candidate.name === wanted);
  if (!entry) {
    const guess = didYouMean(
      wanted,
      COMMANDS.map((candidate) => candidate.name),
    );
    process.stderr.write(
      `coatcheck: there is no command of this name${guess}\nSee: coatcheck --help\n`,
    );
    return EXIT_USED_WRONGLY;
  }
  const command: Command = await entry.load();
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help());
    return 0;
  }
  return command.run(args, {
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    stdin: readStandardInput,
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
