// What `inject`, `lint` and `render` share on the command line: files, and the operator's settings, for the first two with
// defaults for a laptop.
import type { CommandIo } from '../../common/command.ts';
import {
  optional,
  path,
  readSettings,
  type Setting,
  SettingsError,
  type SettingsOf,
  toVariable,
} from '../../common/settings.ts';
import { findBrokerCa } from '../files.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { findConflicts, INJECT_TABLE, toInjectSettings } from '../settings.ts';

/** Stand-ins for what only an operator knows; `.invalid` never resolves (RFC 2606 §2). */
const LAPTOP_BROKER_URL = 'https://broker.not-set.invalid';
const LAPTOP_IMAGE = 'not-set.invalid/coatcheck/exchange:not-set';

export const COMMAND_TABLE = {
  ...INJECT_TABLE,
  brokerUrl: { ...INJECT_TABLE.brokerUrl, default: LAPTOP_BROKER_URL },
  image: { ...INJECT_TABLE.image, default: LAPTOP_IMAGE },
  brokerCaFile: optional(
    path({ doc: 'PEM file of the authorities that sign the certificate of the broker' }),
  ),
} as const;

/** What every such table has; whether a setting has a default may differ. */
type Table = {
  readonly [Name in keyof typeof COMMAND_TABLE]: Setting<SettingsOf<typeof COMMAND_TABLE>[Name]>;
};

interface ReadCommand<Read extends Table> {
  readonly files: readonly string[];
  readonly settings: InjectSettings;
  readonly options: SettingsOf<Read>;
}

/** The files of `-f A B -f C` and the settings. @throws SettingsError with every problem. */
export async function readCommand<const More extends Readonly<Record<string, Setting<unknown>>>>(
  more: More,
  args: readonly string[],
  io: CommandIo,
): Promise<ReadCommand<Table & More>> {
  const table = { ...COMMAND_TABLE, ...more } as Table & More;
  return readOperatorSettings(table, { args: withoutFileFlags(args), io }, (files) =>
    files.length > 0 ? [] : ['-f is required: a manifest file, or - for standard input'],
  );
}

/**
 * The settings of a table that has those of the injection, and the operands.
 * @throws SettingsError with every problem, also those that `findMore` finds in the operands.
 */
export async function readOperatorSettings<const Read extends Table>(
  table: Read,
  { args, io }: { args: readonly string[]; io: CommandIo },
  findMore: (operands: readonly string[]) => readonly string[],
): Promise<ReadCommand<Read>> {
  // A shell may hold variables of other programs of ours; only the programs themselves are strict about them.
  const known = Object.entries(table)
    .filter(([, { flagOnly }]) => !flagOnly)
    .map(([name]) => [toVariable(name), io.environment[toVariable(name)]]);
  const { settings: options, operands: files } = readSettings(table, {
    args,
    environment: Object.fromEntries(known),
  });
  const plain = options as SettingsOf<Table>;
  const problems = [...findConflicts(plain), ...findMore(files)];
  const brokerCa = await findBrokerCa(plain.brokerCaFile, problems);
  if (problems.length > 0) throw new SettingsError(problems);
  return { files, settings: toInjectSettings(plain, brokerCa), options };
}

/** `-f` may be repeated and may be followed by several files, as in kubectl: the flag itself means nothing more. */
function withoutFileFlags(args: readonly string[]): readonly string[] {
  return args.flatMap((argument) => {
    if (argument === '-f' || argument === '--filename') return [];
    const inline = /^(?:-f|--filename)=(.+)$/s.exec(argument)?.[1];
    return [inline ?? argument];
  });
}
