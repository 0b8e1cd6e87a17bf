// Runs one of the commands of `coatcheck role` as a shell would, with files in a folder of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CommandIo } from '../../../../common/command.ts';
import { keep } from '../../../support/tokens.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workplace {
  readonly folder: string;
  write(name: string, content: string): string;
  run(
    args: readonly string[],
    around?: Partial<Pick<CommandIo, 'environment'>> & { stdin?: string },
  ): Promise<Ran>;
  remove(): void;
}

export function createWorkplace(
  run: (args: readonly string[], io: CommandIo) => Promise<number>,
): Workplace {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-role-'));
  return {
    folder,
    write: (name, content) => {
      const file = path.join(folder, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, content);
      return file;
    },
    run: async (args, { stdin = '', environment = {} } = {}) => {
      let stdout = '';
      let stderr = '';
      const code = await run(args, {
        stdout: (text) => {
          stdout += text;
        },
        stderr: (text) => {
          stderr += text;
        },
        stdin: async () => stdin,
        environment,
      });
      keep('role command', `${stdout}\n${stderr}`);
      return { code, stdout, stderr };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
