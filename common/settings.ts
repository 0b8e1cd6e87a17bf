// One table per process says what can be set: type, default, bounds, a sentence. From it come the typed and frozen
// settings, `--help` and docs/configuration.md. The only file that reads the environment.
//
// `brokerUrl` is the flag `--broker-url` and the variable `COATCHECK_BROKER_URL`; a flag beats a variable.
// Unknown flags and unknown COATCHECK_ variables stop the start, and every problem is told in one message, by name
// and never by value: a value may be a secret that was put in the wrong place.
import { isIP } from 'node:net';
import { didYouMean } from './spelling.ts';

export const ENVIRONMENT_PREFIX = 'COATCHECK_';

/** One line of a settings table. `parse` throws an Error whose message says what is allowed, without the value. */
export interface Setting<T> {
  readonly kind: string;
  readonly doc: string;
  readonly parse: (text: string) => T;
  /** Absent: the setting is required. */
  readonly default?: T;
  /** The default as the documents show it; `JSON.stringify` of it otherwise. */
  readonly defaultText?: string;
  readonly optional?: boolean;
  readonly flagOnly?: boolean;
  /** True for a setting that takes no argument as a flag (`--check`). */
  readonly isSwitch?: boolean;
  /** A one-letter flag beside the long one (`f` for `-f`). */
  readonly short?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds settings of many types; each is recovered by SettingsOf.
export type SettingsTable = Readonly<Record<string, Setting<any>>>;
export type SettingsOf<Table extends SettingsTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer T> ? T : never;
};

interface Common<T> {
  doc: string;
  default?: T;
  flagOnly?: boolean;
  defaultText?: string;
  short?: string;
}

/** Everything that is wrong with the settings, in one message. The process exits with code 2. */
export class SettingsError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `${problems.length === 1 ? 'one problem' : `${problems.length} problems`} with the settings:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.name = 'SettingsError';
    this.problems = problems;
  }
}

export const EXIT_BAD_SETTINGS = 2;

/** Any text; `pattern` (anchored by the caller) and `allowed` say which. */
export function text(
  options: Common<string> & { pattern?: RegExp; allowed?: string; optional?: false },
): Setting<string> {
  return make('text', options, (value) => {
    if (options.pattern && !options.pattern.test(value)) {
      throw new Error(`must be ${options.allowed ?? `like ${options.pattern.source}`}`);
    }
    return value;
  });
}

/** A setting that may stay unset; its value is then undefined. */
export function optional<T>(setting: Setting<T>): Setting<T | undefined> {
  return { ...setting, optional: true };
}

export function oneOf<const T extends string>(
  options: Common<T> & { values: readonly T[] },
): Setting<T> {
  return make(options.values.join('|'), options, (value) => {
    const found = options.values.find((allowed) => allowed === value);
    if (found === undefined) throw new Error(`must be one of ${options.values.join(', ')}`);
    return found;
  });
}

/** A whole number between `min` and `max`; the name of the setting ends in its unit. */
export function integer(options: Common<number> & { min: number; max: number }): Setting<number> {
  return make(`${options.min}–${options.max}`, options, (value) => {
    const number = /^-?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= options.min && number <= options.max)) {
      throw new Error(`must be a whole number from ${options.min} to ${options.max}`);
    }
    return number;
  });
}

export function flag(options: Common<boolean>): Setting<boolean> {
  const setting = make('true|false', options, (value) => {
    if (value !== 'true' && value !== 'false') throw new Error('must be true or false');
    return value === 'true';
  });
  return { ...setting, isSwitch: true };
}

/** Comma-separated words; blanks around them do not count, empty ones are dropped. */
export function list(
  options: Common<readonly string[]> & {
    pattern?: RegExp;
    /** What no pattern can say; with `allowed`. */
    isItem?: (item: string) => boolean;
    allowed?: string;
  },
): Setting<readonly string[]> {
  return make('list', options, (value) => {
    const items = value
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
    if (options.pattern && !items.every((item) => options.pattern?.test(item))) {
      throw new Error(`every item must be ${options.allowed ?? `like ${options.pattern.source}`}`);
    }
    if (options.isItem && !items.every(options.isItem)) {
      throw new Error(`every item must be ${options.allowed ?? 'another one'}`);
    }
    return items;
  });
}

const PLAIN_URL = /^https?:\/\/[^\s\\/?#@]+(\/[^\s\\?#]*)?$/i;

/** Whether the text is an absolute http(s) URL as it stands: the parser itself drops blanks and turns backslashes. */
export function isPlainUrl(value: string): boolean {
  return PLAIN_URL.test(value) && URL.canParse(value);
}

/** An absolute http(s) URL without credentials, query or fragment; returned as written, without a trailing slash. */
export function url(options: Common<string> & { httpsOnly?: boolean }): Setting<string> {
  return make('url', options, (value) => {
    const parsed = URL.parse(value);
    const schemes = options.httpsOnly ? ['https:'] : ['https:', 'http:'];
    if (!parsed || !schemes.includes(parsed.protocol)) {
      throw new Error(`must be an absolute ${schemes.join(' or ').replaceAll(':', '')} URL`);
    }
    // As written, because it is used as written: the parser drops blanks, turns backslashes and adds slashes, and does
    // not tell an empty query from none.
    if (!PLAIN_URL.test(value)) {
      throw new Error('must be a URL without blanks, user, password, query and fragment');
    }
    return value.replace(/\/+$/, '');
  });
}

export function path(options: Common<string> & { absolute?: boolean }): Setting<string> {
  return make('path', options, (value) => {
    if (value === '' || value.includes('\0')) throw new Error('must be a path');
    if (options.absolute && !value.startsWith('/')) throw new Error('must be an absolute path');
    return value;
  });
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, `[v6]:port` or `:port` (all addresses). Port 0 lets the system choose. */
export function listenAddress(options: Common<ListenAddress>): Setting<ListenAddress> {
  const setting = make('host:port', options, parseListenAddress);
  return options.default ? { ...setting, defaultText: formatAddress(options.default) } : setting;
}

export function parseListenAddress(value: string): ListenAddress {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2] ?? '';
  const isHost =
    host === '' || isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host);
  if (!match || port > 65_535 || !isHost) throw new Error('must be host:port, [v6]:port or :port');
  return { host: host === '' ? '::' : host, port };
}

export function formatAddress({ host, port }: ListenAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** A JSON document; `check` turns it into a value or throws an Error that says what is allowed. */
export function json<T>(options: Common<T> & { check: (value: unknown) => T }): Setting<T> {
  return make('json', options, (value) => {
    let parsed: unknown;
    try {
      parsed = JSON.parse(value);
    } catch {
      // The parser's own message quotes the text; ours must not.
      throw new Error('must be valid JSON');
    }
    return options.check(parsed);
  });
}

function make<T>(kind: string, options: Common<T>, parse: (text: string) => T): Setting<T> {
  return {
    kind,
    doc: options.doc,
    parse,
    ...(options.default !== undefined && { default: options.default }),
    ...(options.defaultText !== undefined && { defaultText: options.defaultText }),
    ...(options.flagOnly && { flagOnly: true }),
    ...(options.short !== undefined && { short: options.short }),
  };
}

/** `brokerUrl` → `--broker-url`. */
export function toFlag(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `brokerUrl` → `COATCHECK_BROKER_URL`. */
export function toVariable(name: string): string {
  return ENVIRONMENT_PREFIX + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

export interface SettingsSource {
  /** Arguments after the subcommand. */
  args?: readonly string[];
  environment?: Readonly<Record<string, string | undefined>>;
}

export interface ReadSettings<Table extends SettingsTable> {
  settings: SettingsOf<Table>;
  /** Arguments that are no flags, in order. */
  operands: readonly string[];
}

/**
 * Reads the settings of one process.
 * @param source the arguments after the subcommand and the environment, both for the caller to give.
 * @param findMore what is wrong beyond single settings (combinations, files they name); it is asked also when there are
 * problems already, and then the settings that have one are undefined.
 * @throws SettingsError with every problem at once.
 */
export function readSettings<const Table extends SettingsTable>(
  table: Table,
  source: SettingsSource,
  findMore: (settings: Partial<SettingsOf<Table>>) => readonly string[] = () => [],
): ReadSettings<Table> {
  const problems: string[] = [];
  const environment = source.environment ?? {};
  const { flags, operands } = parseArguments(table, source.args ?? [], problems);
  problems.push(...findUnknownVariables(table, environment));
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(table)) {
    const raw = flags.get(name) ?? (setting.flagOnly ? undefined : environment[toVariable(name)]);
    const where = flags.has(name) ? toFlag(name) : toVariable(name);
    settings[name] = readOne(setting, raw, { name, where, problems });
  }
  problems.push(...findMore(settings as Partial<SettingsOf<Table>>));
  if (problems.length > 0) throw new SettingsError(problems);
  return { settings: Object.freeze(settings) as SettingsOf<Table>, operands };
}

function readOne(
  setting: Setting<unknown>,
  raw: string | undefined,
  { name, where, problems }: { name: string; where: string; problems: string[] },
): unknown {
  // An empty variable counts as unset: charts and shells cannot always leave one out.
  if (raw === undefined || (raw === '' && where.startsWith(ENVIRONMENT_PREFIX))) {
    if (setting.default === undefined && !setting.optional) {
      problems.push(
        setting.flagOnly
          ? `${toFlag(name)} is required: ${setting.doc}`
          : `${toVariable(name)} (or ${toFlag(name)}) is required: ${setting.doc}`,
      );
    }
    return setting.default;
  }
  try {
    return setting.parse(raw);
  } catch (error) {
    problems.push(`${where} ${(error as Error).message}`);
    return undefined;
  }
}

function parseArguments(
  table: SettingsTable,
  args: readonly string[],
  problems: string[],
): { flags: Map<string, string>; operands: string[] } {
  const byFlag = new Map(Object.keys(table).map((name) => [toFlag(name), name]));
  for (const [name, { short }] of Object.entries(table)) if (short) byFlag.set(`-${short}`, name);
  const flags = new Map<string, string>();
  const operands: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? '';
    if (argument === '--') {
      operands.push(...args.slice(i + 1));
      break;
    }
    // A lone dash means standard input everywhere and is an operand.
    if (!argument.startsWith('-') || argument === '-') {
      operands.push(argument);
      continue;
    }
    const used = takeFlag({ table, byFlag, flags, problems }, argument, args[i + 1]);
    if (used === 'with-next') i++;
  }
  return { flags, operands };
}

interface FlagReading {
  readonly table: SettingsTable;
  /** `--broker-url` → `brokerUrl`. */
  readonly byFlag: ReadonlyMap<string, string>;
  readonly flags: Map<string, string>;
  readonly problems: string[];
}

/** Reads `--flag`, `--flag=value` or `--flag value`; says whether the next argument was its value. */
function takeFlag(
  { table, byFlag, flags, problems }: FlagReading,
  argument: string,
  next: string | undefined,
): 'alone' | 'with-next' {
  const [given, inline] = splitOnce(argument, '=');
  const name = byFlag.get(given);
  if (name === undefined) {
    problems.push(`${given} is not a flag of this command${didYouMean(given, byFlag.keys())}`);
    return 'alone';
  }
  if (inline !== undefined) {
    flags.set(name, inline);
    return 'alone';
  }
  if (table[name]?.isSwitch && next !== 'true' && next !== 'false') {
    flags.set(name, 'true');
    return 'alone';
  }
  if (next === undefined) {
    problems.push(`${given} needs a value`);
    return 'alone';
  }
  flags.set(name, next);
  return 'with-next';
}

function splitOnce(value: string, separator: string): [string, string | undefined] {
  const at = value.indexOf(separator);
  return at === -1 ? [value, undefined] : [value.slice(0, at), value.slice(at + 1)];
}

// What the kubelet adds for every Service of the namespace (`COATCHECK_BROKER_SERVICE_HOST`, `…_PORT_443_TCP_ADDR`):
// a Service named coatcheck-… must not stop the process. No setting may end like one of these (test/common checks it).
const SERVICE_LINK =
  /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

function findUnknownVariables(
  table: SettingsTable,
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const known = Object.entries(table).flatMap(([name, s]) =>
    s.flagOnly ? [] : [toVariable(name)],
  );
  return Object.keys(environment)
    .filter((name) => name.startsWith(ENVIRONMENT_PREFIX))
    .filter((name) => !known.includes(name) && !SERVICE_LINK.test(name))
    .map((name) => `${name} is not a setting of this process${didYouMean(name, known)}`);
}

/** The flags of a command as `--help` prints them. */
export function describeFlags(table: SettingsTable): string {
  const rows = Object.entries(table).map(([name, setting]) => {
    const flags = setting.short ? `-${setting.short}, ${toFlag(name)}` : toFlag(name);
    const left = setting.isSwitch ? flags : `${flags} <${setting.kind}>`;
    return { left, setting, name };
  });
  const width = Math.min(44, Math.max(...rows.map((row) => row.left.length)) + 2);
  return rows
    .map(({ left, setting, name }) => {
      const variable = setting.flagOnly ? '' : ` [${toVariable(name)}]`;
      const pad = left.length >= width ? `${left}\n${' '.repeat(width + 2)}` : left.padEnd(width);
      return `  ${pad}${setting.doc} (${describeDefault(setting)})${variable}`;
    })
    .join('\n');
}

/** `default: 3600`, `required` or `optional`. */
export function describeDefault(setting: Setting<unknown>): string {
  if (setting.default !== undefined) {
    return `default: ${setting.defaultText ?? (typeof setting.default === 'string' ? setting.default : JSON.stringify(setting.default))}`;
  }
  return setting.optional ? 'optional' : 'required';
}

/** The environment of this process; the one place that touches it. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
