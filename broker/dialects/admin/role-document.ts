// A role back as the TokenRole document that says the same: for roles of files and objects, whose text the broker does
// not keep. Defaults are written out.
import type { Role } from '../../roles/role.ts';
import { ROLE_API_VERSION, ROLE_KIND } from '../../roles/schema.ts';

export function toRoleDocument({ name, token, ...role }: Role): object {
  const { ttlSeconds, maxTtlSeconds, ...rest } = token;
  const { audience, subjects, condition, requirePod, allowExtraAudiences } = role;
  return {
    apiVersion: ROLE_API_VERSION,
    kind: ROLE_KIND,
    metadata: { name },
    spec: {
      audience,
      subjects,
      ...(condition && { condition: condition.text }),
      requirePod,
      allowExtraAudiences,
      token: { ...rest, ttl: `${ttlSeconds}s`, maxTtl: `${maxTtlSeconds}s` },
    },
  };
}
