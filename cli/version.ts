// `coatcheck version`: what exactly is running. The version is package.json's; the bundle has it inlined.
import type { Command, CommandIo } from '../common/command.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  oneOf,
  readSettings,
  SettingsError,
} from '../common/settings.ts';
import manifest from '../package.json' with { type: 'json' };

export const VERSION: string = manifest.version;

const VERSION_SETTINGS = {
  output: oneOf({
    flagOnly: true,
    values: ['text', 'json'],
    default: 'text',
    doc: 'For people or for programs',
  }),
};

export const command: Command = {
  describe: 'print the version',
  help: () => `coatcheck version [flags]

Prints the version of the program and of the Node it runs on.

Flags
${describeFlags(VERSION_SETTINGS)}
`,
  run: async (args, io) => {
    try {
      printVersion(args, io);
      return 0;
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      io.stderr(`coatcheck version: ${error.message}\n`);
      return EXIT_BAD_SETTINGS;
    }
  },
};

function printVersion(args: readonly string[], io: CommandIo): void {
  const { settings, operands } = readSettings(VERSION_SETTINGS, { args });
  if (operands.length > 0) throw new SettingsError(['coatcheck version takes flags only']);
  const facts = {
    version: VERSION,
    node: process.versions.node,
    platform: `${process.platform}/${process.arch}`,
  };
  io.stdout(
    settings.output === 'json'
      ? `${JSON.stringify(facts)}\n`
      : `coatcheck ${facts.version} (node ${facts.node}, ${facts.platform})\n`,
  );
}
