// What a condition knows, by kind of subject. What a subject does not have (the pod of an unbound token, the namespace
// of a CI job) is not there: asking for it is an error, and an error is a deny.
import { type CelInput, type CelMap, celMap } from '@bufbuild/cel';
import type { Identity, VerifiedSubject } from '../../identity/identity.ts';
import type { ConditionRequest } from '../role.ts';
import type { Meter } from './meter.ts';
import { NAMESPACE_ALIAS } from './reserved.ts';

export const VARIABLES: Readonly<Record<Identity['kind'], readonly string[]>> = {
  workload: ['cluster', 'namespace', 'serviceAccount', 'pod', 'node', 'claims', 'request'],
  oidc: ['issuer', 'subject', 'claims', 'request'],
  client: ['client', 'claims', 'request'],
  user: ['provider', 'subject', 'groups', 'claims', 'request'],
};

export const ALL_VARIABLES: ReadonlySet<string> = new Set(Object.values(VARIABLES).flat());

/** The kinds of subjects that may have all of the variables. */
export function findKinds(names: ReadonlySet<string>): readonly Identity['kind'][] {
  const kinds = Object.keys(VARIABLES) as Identity['kind'][];
  return kinds.filter((kind) => [...names].every((name) => VARIABLES[kind].includes(name)));
}

export type Bindings = Readonly<Record<string, CelInput>>;

/**
 * The variables of `names` that this subject has, as CEL values.
 * @throws RangeError where they are too large for the meter
 */
export function toBindings(
  subject: VerifiedSubject,
  request: ConditionRequest,
  { names, meter }: { names: Iterable<string>; meter: Meter },
): Bindings {
  const known = toVariables(subject, request);
  // No prototype: `constructor` is no variable of anybody.
  const bindings = Object.create(null) as Record<string, CelInput>;
  for (const name of names) {
    const value = known[name];
    if (value !== undefined)
      bindings[name === 'namespace' ? NAMESPACE_ALIAS : name] = toCelInput(value, meter);
  }
  return bindings;
}

function toVariables(
  { identity, claims }: VerifiedSubject,
  request: ConditionRequest,
): Readonly<Record<string, unknown>> {
  const shared = { __proto__: null, claims, request };
  switch (identity.kind) {
    case 'workload': {
      const { cluster, namespace, serviceAccount, pod, node } = identity;
      return { ...shared, cluster, namespace, serviceAccount, pod, node };
    }
    case 'oidc':
      return { ...shared, issuer: identity.issuer, subject: identity.subject };
    case 'client':
      return { ...shared, client: identity.id };
    case 'user': {
      const { provider, subject, groups } = identity;
      return { ...shared, provider, subject, groups };
    }
  }
}

const CHARACTERS_PER_STEP = 32;

/** JSON as CEL: whole numbers are ints, objects are maps and never messages; members that are undefined are left out. */
function toCelInput(value: unknown, meter: Meter): CelInput {
  meter.charge(1);
  switch (typeof value) {
    case 'string':
      meter.charge(value.length / CHARACTERS_PER_STEP);
      return value;
    case 'number':
      return Number.isSafeInteger(value) ? BigInt(value) : value;
    case 'boolean':
      return value;
    default:
      if (Array.isArray(value)) return value.map((item) => toCelInput(item, meter));
      return typeof value === 'object' && value !== null ? toCelMap(value, meter) : null;
  }
}

function toCelMap(value: object, meter: Meter): CelMap {
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return celMap(new Map(members.map(([name, member]) => [name, toCelInput(member, meter)])));
}
