// `PUT /api/v1/roles/{name}`: under the limits that bind every source, and within what the caller has itself.
import { z } from 'zod';
import type { Problem } from '../../../common/documents.ts';
import type { RoleApplied, RoleView } from '../../../common/protocol/admin-api.ts';
import { BrokerError } from '../../errors.ts';
import type { Role } from '../../roles/role.ts';
import { type StoredRole, StoreError } from '../../store/store.ts';
import { findBeyond } from '../../within.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { findExpected, isSameJson } from './replacing.ts';
import { checkName, findReport, getStore, toRoleView } from './role-views.ts';
import { type AdminAnswer, type Call, defineRoute } from './route.ts';
import { flag, roleApplied, roleDocument, roleName, version } from './schemas.ts';

export const putRole = defineRoute({
  method: 'PUT',
  path: '/api/v1/roles/{name}',
  operation: 'putRole',
  summary: 'Creates or replaces a role of the API',
  description:
    'The body is a TokenRole document whose `metadata.name` is the name in the path. Its policies, audience and longest life must lie within the own of the caller. `version`, or `If-Match: "<version>"`, names the version that is replaced; 0: there must be none. Where a version is named, of two writers at once one wins.',
  needs: { resource: 'roles', verb: 'update' },
  audited: true,
  needsStore: true,
  takesIfMatch: true,
  params: z.strictObject({ name: roleName }),
  query: z.strictObject({
    version: version.optional(),
    dryRun: flag.optional().meta({ description: 'Checks all and writes nothing' }),
    force: flag
      .optional()
      .meta({ description: 'Also where subjects that are served now would be served no more' }),
  }),
  body: roleDocument,
  answers: { 200: { description: 'What was done', schema: roleApplied } },
  refusals: ['beyond_own', 'conflict', 'version_mismatch'],
  run: (call, deps) => applyRole(call, deps),
});

interface PutQuery {
  readonly version?: number | undefined;
  readonly dryRun?: boolean | undefined;
  readonly force?: boolean | undefined;
}
type Put = Call<{ name: string }, PutQuery, object>;

/** Every check comes before the first write; a dry run is all of them. */
async function applyRole(call: Put, deps: AdminDeps): Promise<AdminAnswer> {
  const { params, query, body } = call;
  const dryRun = query.dryRun === true;
  const role = parseRole(body, params.name, deps);
  await checkWithin(role, call, deps);
  checkName(params.name, deps);
  await checkAudience(role, deps);
  const before = await getStore(deps).roles.find(params.name);
  const expected = await checkBefore(before, call, deps);
  const warnings = deps.roles.findAmbiguities(role);
  if (warnings.length > 0 && query.force !== true) {
    const problems = warnings.map((problem): Problem => ({ path: 'spec.subjects', problem }));
    throw new RequestRefused('conflict', problems);
  }
  const result = toResult(before, body);
  const isWriting = !dryRun && result !== 'unchanged';
  const written = isWriting ? await write(call, deps, expected) : before;
  const applied: RoleApplied = {
    result,
    dryRun,
    role: show(role, { body, written, deps }),
    warnings,
  };
  return { body: applied, facts: { result, dryRun, ...(written && { version: written.version }) } };
}

function toResult(before: StoredRole | undefined, document: unknown): RoleApplied['result'] {
  if (!before) return 'created';
  return isSameJson(before.document, document) ? 'unchanged' : 'changed';
}

/** The version that the write must find: that of the request, or none where the caller means to create. */
async function checkBefore(
  before: StoredRole | undefined,
  call: Put,
  deps: AdminDeps,
): Promise<number | undefined> {
  if (!before && !(await deps.capabilities.can(call.caller, 'create', 'roles')))
    throw new BrokerError('bearer_forbidden', 'may not create roles');
  const expected = findExpected(call);
  if (expected !== undefined && expected !== (before?.version ?? 0))
    throw new BrokerError('version_mismatch');
  return expected ?? (before ? undefined : 0);
}

/** `client:<id>` and an audience must not be mistaken for one another where both stand in a token. */
async function checkAudience({ audience }: Role, deps: AdminDeps): Promise<void> {
  if (!(await getStore(deps).clients.find(audience))) return;
  throw new RequestRefused('conflict', [
    { path: 'spec.audience', problem: 'is the id of a registered client' },
  ]);
}

function show(
  role: Role,
  { body, written, deps }: { body: object; written: StoredRole | undefined; deps: AdminDeps },
): RoleView {
  const { name, audience } = role;
  const report = findReport(name, deps) ?? { name, source: 'api', state: 'Ready', overlaps: [] };
  const stored = new Map(written ? [[name, written]] : []);
  return { ...toRoleView(report, { deps, stored }), audience, document: body };
}

async function write(
  { params, body, caller }: Put,
  deps: AdminDeps,
  expected: number | undefined,
): Promise<StoredRole> {
  const row = {
    name: params.name,
    document: body,
    updatedAt: Math.floor(deps.clock.now() / 1000),
    updatedBy: caller.subject,
  };
  try {
    return await getStore(deps).roles.put(row, expected);
  } catch (error) {
    if (error instanceof StoreError && error.kind === 'conflict')
      throw new BrokerError('version_mismatch', error.message, { cause: error });
    throw error;
  }
}

function parseRole(document: unknown, name: string, deps: AdminDeps): Role {
  const parsed = deps.roles.parse(document, `api:${name}`);
  if (!parsed.ok) throw new RequestRefused('document_invalid', parsed.problems.map(toProblem));
  if (parsed.role.name === name) return parsed.role;
  throw new RequestRefused('document_invalid', [
    { path: 'metadata.name', problem: 'must be the name in the path' },
  ]);
}

/** `spec.audience: is required` in its two parts. */
function toProblem(text: string): Problem {
  const [, path = '', problem = text] = /^([\w.[\]"/ -]+?): (.+)$/s.exec(text) ?? [];
  return { path, problem };
}

async function checkWithin(role: Role, { caller }: Put, deps: AdminDeps): Promise<void> {
  const { policies, scopes, maxTtlSeconds } = role.token;
  const wanted = { policies, scopes, audience: role.audience, ttlSeconds: maxTtlSeconds };
  const paths = {
    policies: 'spec.token.policies',
    audience: 'spec.audience',
    scopes: 'spec.token.scopes',
    ttl: 'spec.token.maxTtl',
  };
  const beyond = await findBeyond(caller, { wanted, paths }, deps);
  if (beyond.length > 0) throw new RequestRefused('beyond_own', beyond);
}
