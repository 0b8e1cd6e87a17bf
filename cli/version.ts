// `coatcheck version`: what exactly is running. The version is package.json's; the bundle has it inlined.

import type { Command } from '../common/command.ts';
import manifest from '../package.json' with { type: 'json' };

export const VERSION: string = manifest.version;

export const command: Command = {
  describe: 'print the version',
  help: () =>
    'coatcheck version [--output json]\n\nPrints the version of the program and of the Node it runs on.\n',
  run: async (args, io) => {
    const asJson = args.includes('json') || args.includes('--output=json');
    const facts = {
      version: VERSION,
      node: process.versions.node,
      platform: `${process.platform}/${process.arch}`,
    };
    io.stdout(
      asJson
        ? `${JSON.stringify(facts)}\n`
        : `coatcheck ${facts.version} (node ${facts.node}, ${facts.platform})\n`,
    );
    return 0;
  },
};
