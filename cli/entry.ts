// One line of the CLI's table: a command, or a noun with verbs below it. Nothing is imported before it is asked for.
import type { Command } from '../common/command.ts';

export interface Entry {
  readonly name: string;
  readonly describe: string;
  /** Absent for a noun that does nothing without a verb. */
  readonly load?: () => Promise<Command>;
  readonly verbs?: readonly Entry[];
}

export interface TopEntry extends Entry {
  readonly group: 'programs' | 'tools' | 'broker';
}
