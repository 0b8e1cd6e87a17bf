// Roles that were written through the API: the store's rows as this replica mirrors them, read under the limits of this
// broker. A row that is no role any more (the operator took something away) gives none, and says so.
import type { Logger } from '../../../common/log.ts';
import type { RoleLimits } from '../limits.ts';
import type { Role } from '../role.ts';
import { createRoleParser, type ParsedRole } from '../schema.ts';
import type { InvalidRole, RoleSource } from '../source.ts';

/** What is asked of the mirror of the store. */
export interface StoredRoles {
  roles(): readonly StoredDocument[];
  /** Told after `roles()` changed. */
  onRolesChange(listener: () => void): void;
}

interface StoredDocument {
  readonly name: string;
  readonly document: unknown;
  readonly version: number;
}

export interface ApiSourceOptions {
  /** Started and stopped by whoever made it, before and after this source. */
  readonly stored: StoredRoles;
  readonly limits?: RoleLimits;
  readonly log: Logger;
}

/** Limits of roles that come through the API: those of all, and names as Vault's clients write them. */
export function toApiLimits(limits: RoleLimits = {}): RoleLimits {
  return { ...limits, allowMountNames: true };
}

/** Makes the source; it says nothing before `start`. */
export function createApiSource({ stored, limits, log }: ApiSourceOptions): RoleSource {
  const parse = createRoleParser(toApiLimits(limits));
  const listeners: (() => void)[] = [];
  let rows: ReadonlyMap<string, { row: StoredDocument; parsed: ParsedRole }> = new Map();
  let roles: readonly Role[] = [];
  let invalid: readonly InvalidRole[] = [];
  let isStarted = false;

  stored.onRolesChange(() => {
    if (isStarted) update();
  });

  function update(): void {
    const before = rows;
    rows = new Map(stored.roles().map((row) => [row.name, { row, parsed: read(row, before) }]));
    const all = [...rows.values()].sort((a, b) => (a.row.name < b.row.name ? -1 : 1));
    roles = all.flatMap(({ parsed }) => (parsed.ok ? [parsed.role] : []));
    invalid = all.flatMap(({ row, parsed }) =>
      parsed.ok ? [] : [toInvalid(row, parsed.problems)],
    );
    const facts = { roles: roles.length, invalid: invalid.length };
    if (invalid.length > 0)
      log.warn({ ...facts, problems: toSentences(invalid) }, 'some roles of the API are no roles');
    else log.info(facts, 'roles of the API loaded');
    for (const listener of listeners) listener();
  }

  /** A version is parsed once: one changed role among thousands costs one. */
  function read(row: StoredDocument, before: typeof rows): ParsedRole {
    const known = before.get(row.name);
    if (known && known.row.version === row.version && known.row.document === row.document)
      return known.parsed;
    const parsed = parse(row.document, toSource(row));
    if (!parsed.ok || parsed.role.name === row.name) return parsed;
    return { ok: false, problems: ['metadata.name: is not the name it is stored under'] };
  }

  return {
    kind: 'api',
    current: () => roles,
    invalid: () => invalid,
    problems: () => toSentences(invalid),
    onChange: (listener) => void listeners.push(listener),
    findObstacles: () => (isStarted ? [] : ['roles of the API were not read yet']),
    start: async () => {
      isStarted = true;
      update();
    },
    stop: async () => {
      isStarted = false;
    },
  };
}

function toSource({ name }: StoredDocument): string {
  return `api:${name}`;
}

function toInvalid(row: StoredDocument, problems: readonly string[]): InvalidRole {
  return { name: row.name, source: toSource(row), problems };
}

function toSentences(invalid: readonly InvalidRole[]): readonly string[] {
  return invalid.flatMap(({ source, problems }) =>
    problems.map((problem) => `${source}: ${problem}`),
  );
}
