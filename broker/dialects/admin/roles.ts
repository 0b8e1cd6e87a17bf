// `/api/v1/roles`: every role of every source; those of the API are written here (put-role.ts) and deleted.
import { z } from 'zod';
import type { RoleView } from '../../../common/protocol/admin-api.ts';
import { BrokerError } from '../../errors.ts';
import type { Role } from '../../roles/role.ts';
import { putRole } from './put-role.ts';
import { toRoleDocument } from './role-document.ts';
import { checkName, findReport, findStoredRoles, getStore, toRoleView } from './role-views.ts';
import { defineRoute } from './route.ts';
import { flag, listOf, paging, roleDeleted, roleName, roleView } from './schemas.ts';
import { toTime } from './views.ts';

const PATH = '/api/v1/roles';
const byName = z.strictObject({ name: roleName });

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listRoles',
  summary: 'Every role of every source, with the state it is in',
  needs: { resource: 'roles', verb: 'list' },
  audited: false,
  needsStore: false,
  query: z.strictObject(paging),
  answers: { 200: { description: 'By name', schema: listOf(roleView) } },
  run: async ({ query }, deps) => {
    const stored = await findStoredRoles(deps);
    const all = deps.roles
      .reports()
      .map((report) => toRoleView(report, { deps, stored }))
      .sort(compareRoles);
    const rest = all.filter((view) => query.after === undefined || toKey(view) > query.after);
    const items = rest.slice(0, query.limit);
    const last = items.at(-1);
    return { body: { items, ...(rest.length > items.length && last && { next: toKey(last) }) } };
  },
});

const get = defineRoute({
  method: 'GET',
  path: `${PATH}/{name}`,
  operation: 'getRole',
  summary: 'One role with its document; where several sources have the name, the one that counts',
  needs: { resource: 'roles', verb: 'get' },
  audited: false,
  needsStore: false,
  params: byName,
  answers: { 200: { description: 'The role', schema: roleView } },
  refusals: ['not_found'],
  run: async ({ params }, deps) => {
    const report = findReport(params.name, deps);
    if (!report) throw new BrokerError('not_found');
    const stored = await findStoredRoles(deps);
    const document =
      report.source === 'api'
        ? stored.get(params.name)?.document
        : toDocument(deps.roles.findByName(params.name));
    const view = toRoleView(report, { deps, stored });
    return { body: document === undefined ? view : { ...view, document } };
  },
});

const remove = defineRoute({
  method: 'DELETE',
  path: `${PATH}/{name}`,
  operation: 'deleteRole',
  summary: 'Deletes a role of the API; its live tokens run out, or are revoked with it',
  needs: { resource: 'roles', verb: 'delete' },
  audited: true,
  needsStore: true,
  params: byName,
  query: z.strictObject({
    revoke: flag.optional().meta({ description: 'Needs the right to delete tokens too' }),
  }),
  answers: { 200: { description: 'What was done', schema: roleDeleted } },
  refusals: ['conflict', 'not_found'],
  run: async ({ params: { name }, query, caller }, deps) => {
    const isRevoking = query.revoke === true;
    if (isRevoking && !(await deps.capabilities.can(caller, 'delete', 'tokens')))
      throw new BrokerError('bearer_forbidden', 'may not delete tokens');
    if (!(await getStore(deps).roles.remove(name))) {
      checkName(name, deps);
      throw new BrokerError('not_found');
    }
    if (!isRevoking) return { body: { name } };
    const { tokens: revoked, denial } = await deps.revoker.revokeWhere(
      { role: name },
      caller.subject,
    );
    const deniedBefore = denial?.issuedBefore;
    const body = {
      name,
      revoked,
      ...(deniedBefore !== undefined && { deniedBefore: toTime(deniedBefore) }),
    };
    return { body, facts: { revoked } };
  },
});

export const roleRoutes = [list, get, putRole, remove];

function toDocument(role: Role | undefined): object | undefined {
  return role && toRoleDocument(role);
}

function toKey({ name, source }: Pick<RoleView, 'name' | 'source'>): string {
  return `${name} ${source}`;
}

function compareRoles(a: RoleView, b: RoleView): number {
  return toKey(a) < toKey(b) ? -1 : 1;
}
