// Roles as the admin API shows them: what the registry says of each, and what the store adds to those of the API.
import type { RoleView } from '../../../common/protocol/admin-api.ts';
import { BrokerError } from '../../errors.ts';
import type { RoleReport } from '../../roles/report.ts';
import type { StoredRole } from '../../store/store.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { toDefined, toTime } from './views.ts';

/** Rows by name. */
export type StoredRoles = ReadonlyMap<string, StoredRole>;

export async function findStoredRoles({ store }: AdminDeps): Promise<StoredRoles> {
  return new Map((await store?.roles.list())?.map((role) => [role.name, role]));
}

/** The one that counts, where several sources have the name. */
export function findReport(name: string, { roles }: AdminDeps): RoleReport | undefined {
  const found = roles.reports().filter((one) => one.name === name);
  return found.find(({ state }) => state === 'Ready') ?? found[0];
}

export function toRoleView(
  report: Omit<RoleReport, 'writtenAt'>,
  { deps, stored }: { deps: AdminDeps; stored: StoredRoles },
): RoleView {
  const row = report.source === 'api' ? stored.get(report.name) : undefined;
  const role = report.state === 'Ready' ? deps.roles.findByName(report.name) : undefined;
  return toDefined({
    name: report.name,
    source: report.source,
    state: report.state,
    message: report.message,
    problems: report.problems?.length ? report.problems : undefined,
    overlaps: report.overlaps,
    audience: role?.audience,
    version: row?.version,
    updatedAt: row && toTime(row.updatedAt),
    updatedBy: row?.updatedBy,
  }) as RoleView;
}

/** Files and TokenRole objects go before the API: a role of theirs cannot be replaced here. */
export function checkName(name: string, deps: AdminDeps): void {
  const other = deps.roles.reports().find((one) => one.name === name && one.source !== 'api');
  if (!other) return;
  const where = other.source === 'file' ? 'a file' : 'a TokenRole object';
  throw new RequestRefused('conflict', [
    { path: 'metadata.name', problem: `is the name of a role in ${where}, which is changed there` },
  ]);
}

export function getStore({ store }: AdminDeps): NonNullable<AdminDeps['store']> {
  if (!store) throw new BrokerError('store_missing');
  return store;
}
