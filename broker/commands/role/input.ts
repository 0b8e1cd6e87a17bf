// What `role lint` and `role test` share: role files named on the command line, read under the limits of a broker that
// is not here. The same parser reads them in the broker.
import { readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { type CommandIo, withoutFileFlags } from '../../../common/command.ts';
import {
  flag,
  list,
  oneOf,
  readSettings,
  type Setting,
  SettingsError,
  type SettingsOf,
  text,
  toVariable,
} from '../../../common/settings.ts';
import type { RoleLimits } from '../../roles/limits.ts';
import type { Role } from '../../roles/role.ts';
import { createRoleParser } from '../../roles/schema.ts';
import { parseFile } from '../../roles/sources/file.ts';
import { BROKER_SETTINGS } from '../../settings.ts';

export const ROLE_TABLE = {
  ownCluster: text({
    flagOnly: true,
    default: 'local',
    doc: "Name of the broker's own cluster: what a subject without cluster means",
  }),
  withoutStore: flag({
    flagOnly: true,
    default: false,
    doc: 'The broker has no store: roles of type opaque are problems',
  }),
  output: oneOf({
    flagOnly: true,
    values: ['text', 'json'],
    default: 'text',
    short: 'o',
    doc: 'For people or for programs',
  }),
  allowBrokerPolicies: BROKER_SETTINGS.allowBrokerPolicies,
  allowExtraClaims: BROKER_SETTINGS.allowExtraClaims,
  reservedAudiences: BROKER_SETTINGS.reservedAudiences,
  directAudiences: list({
    flagOnly: true,
    default: [],
    doc: 'Audiences whose ServiceAccount tokens receivers accept as they are: roles for them are problems',
  }),
} as const;

export interface RoleFiles {
  readonly roles: readonly Role[];
  /** `file.yaml#2: spec.audience: is required`, and names that are there twice. */
  readonly problems: readonly string[];
}

/**
 * Settings of one of the commands and its role files, `-f` and operands alike.
 * @throws SettingsError with every problem of the command line, and files that are not there
 */
export async function readCommand<const More extends Readonly<Record<string, Setting<unknown>>>>(
  more: More,
  args: readonly string[],
  io: CommandIo,
): Promise<{ settings: SettingsOf<typeof ROLE_TABLE & More>; files: RoleFiles }> {
  const table = { ...ROLE_TABLE, ...more } as typeof ROLE_TABLE & More;
  // In a shell there may be variables of other programs of ours.
  const known = Object.entries(table)
    .filter(([, { flagOnly }]) => !flagOnly)
    .map(([name]) => [toVariable(name), io.environment[toVariable(name)]]);
  const { settings, operands } = readSettings(table, {
    args: withoutFileFlags(args),
    environment: Object.fromEntries(known),
  });
  if (operands.length === 0)
    throw new SettingsError([
      '-f is required: role files, folders of them, or - for standard input',
    ]);
  const limits = toLimits(settings as SettingsOf<typeof ROLE_TABLE>);
  return { settings, files: await readRoleFiles(operands, { io, limits }) };
}

function toLimits(settings: SettingsOf<typeof ROLE_TABLE>): RoleLimits {
  return {
    allowOpaque: !settings.withoutStore,
    allowBrokerPolicies: settings.allowBrokerPolicies,
    allowClaims: settings.allowExtraClaims,
    reservedAudiences: settings.reservedAudiences,
    directAudiences: settings.directAudiences,
  };
}

async function readRoleFiles(
  operands: readonly string[],
  { io, limits }: { io: CommandIo; limits: RoleLimits },
): Promise<RoleFiles> {
  const parse = createRoleParser(limits);
  const files = (await Promise.all(operands.map(listFiles))).flat();
  const parsed = await Promise.all(
    files.map(async (file) => {
      const content = file === '-' ? await io.stdin() : readText(file);
      return parseFile(file, content, parse);
    }),
  );
  const roles = new Map<string, Role>();
  const problems = parsed.flatMap((one) => one.problems);
  for (const role of parsed.flatMap((one) => one.roles)) {
    const first = roles.get(role.name);
    if (first)
      problems.push(
        `${role.source.replace(/^file:/, '')}: metadata.name: is the name of ${first.source} already`,
      );
    else roles.set(role.name, role);
  }
  if (roles.size === 0 && problems.length === 0) problems.push('there is no role in the files');
  return { roles: [...roles.values()], problems };
}

/** Folders as the broker reads them: not into folders below, and no name that begins with a dot. */
async function listFiles(operand: string): Promise<readonly string[]> {
  if (operand === '-') return [operand];
  try {
    if (!statSync(operand).isDirectory()) return [operand];
    const names = await readdir(operand);
    return names
      .filter((name) => !name.startsWith('.') && /\.(ya?ml|json)$/.test(name))
      .toSorted()
      .map((name) => path.join(operand, name));
  } catch (error) {
    throw new SettingsError([`${operand} cannot be read (${toCode(error)})`]);
  }
}

/** @throws SettingsError */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingsError([`${file} cannot be read (${toCode(error)})`]);
  }
}

function toCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown';
}
