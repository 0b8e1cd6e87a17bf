// Asks before many things end at once: a person types the name of what is meant, a script says --yes.
import type { CommandIo } from '../common/command.ts';
import { flag, SettingsError } from '../common/settings.ts';

export const YES_TABLE = {
  yes: flag({ flagOnly: true, default: false, doc: 'Do not ask' }),
} as const;

/**
 * @param what a sentence without an end: `12 tokens of namespace shop end now`
 * @returns whether it is to be done
 * @throws SettingsError where nobody can be asked
 */
export async function confirm(
  io: CommandIo,
  { what, name, yes }: { what: string; name: string; yes: boolean },
): Promise<boolean> {
  if (yes) return true;
  if (!io.ask) throw new SettingsError([`${what}: --yes is needed where nobody can be asked`]);
  const answer = await io.ask(`${what}.\nType ${name} to go on: `);
  if (answer?.trim() === name) return true;
  io.stderr('Nothing was done.\n');
  return false;
}
