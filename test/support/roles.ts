// Roles for tests, as the schema would give them.
import type { Role } from '../../broker/roles/role.ts';

/** A role for shop/checkout of the own cluster and the audience payments; `more` is merged over it. */
export function toRole(name: string, more: Partial<Role> = {}): Role {
  return {
    name,
    source: `file:roles.yaml#${name}`,
    audience: 'payments',
    subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
    requirePod: true,
    allowExtraAudiences: false,
    token: {
      type: 'jwt',
      ttlSeconds: 900,
      maxTtlSeconds: 3600,
      outliveSubject: false,
      scopes: [],
      policies: [],
      claims: {},
      jwtType: 'at+jwt',
    },
    ...more,
  };
}
