// Roles for tests: documents as people write them, and what the schema makes of them.
import type { Role } from '../../broker/roles/role.ts';
import { createRoleParser, type RoleLimits, type RoleParser } from '../../broker/roles/schema.ts';

export type Tree = Readonly<Record<string, unknown>>;

/** The document of a role for shop/checkout and the audience payments; `spec` and `top` are merged over it. */
export function toDocument(spec: Tree = {}, top: Tree = {}): Tree {
  return {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name: 'pay' },
    spec: {
      audience: 'payments',
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
      ...spec,
    },
    ...top,
  };
}

/** Problems of a document under limits; none where it is a role. */
export function problemsOf(value: unknown, limits: RoleLimits = {}): readonly string[] {
  const parsed = createRoleParser(limits)(value, 'file:a.yaml#1');
  return parsed.ok ? [] : parsed.problems;
}

/** The role that {@link toDocument} is, under another name; `more` is merged over it. */
export function toRole(name: string, more: Partial<Role> = {}): Role {
  plain ??= parseRole(toDocument());
  return { ...plain, name, source: `file:roles.yaml#${name}`, ...more };
}

let parse: RoleParser | undefined;
// Made once, since some tests make thousands; and not while suites are loaded, see docs/mutation.md.
let plain: Role | undefined;

/** The role of a document. @throws TypeError where it is none */
export function parseRole(value: unknown, limits?: RoleLimits): Role {
  parse ??= createRoleParser();
  const parsed = (limits ? createRoleParser(limits) : parse)(value, 'file:a.yaml#1');
  if (!parsed.ok) throw new TypeError(parsed.problems.join('\n'));
  return parsed.role;
}
