// Holds an object against what a version of Kubernetes knows of its kind: every field by name and type, and those that must
// be there. shapes.json has it, the first version whole, each later one as far as it differs; make.ts makes it.
import { readFileSync } from 'node:fs';

/** Those that the chart is for and that are out. */
export const VERSIONS = ['1.30', '1.31', '1.32', '1.33', '1.34'] as const;
export type Version = (typeof VERSIONS)[number];

/** `apiVersion kind` of what the chart may render. */
export const KINDS: readonly string[] = [
  ...['ConfigMap', 'PersistentVolumeClaim', 'Pod', 'Secret', 'Service', 'ServiceAccount'].map(
    (kind) => `v1 ${kind}`,
  ),
  'apps/v1 Deployment',
  'autoscaling/v2 HorizontalPodAutoscaler',
  'networking.k8s.io/v1 NetworkPolicy',
  'policy/v1 PodDisruptionBudget',
  'apiextensions.k8s.io/v1 CustomResourceDefinition',
  ...['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding'].map(
    (kind) => `rbac.authorization.k8s.io/v1 ${kind}`,
  ),
  ...[
    'MutatingWebhookConfiguration',
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
  ].map((kind) => `admissionregistration.k8s.io/v1 ${kind}`),
];

/** Per version: name of a type to `field:type …`, `=type`, or nothing where it is gone; `!` is a required field. */
export type Shapes = Record<string, Record<string, string>>;

export interface Checker {
  /** What is wrong, each with its place; nothing where the version takes the object. */
  check(object: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly spec?: unknown;
  }): readonly string[];
}

export function createChecker(version: Version): Checker {
  const file = new URL('shapes.json', import.meta.url);
  const shapes = JSON.parse(readFileSync(file, 'utf8')) as Shapes;
  const upTo = VERSIONS.slice(0, VERSIONS.indexOf(version) + 1);
  const known = new Map(upTo.flatMap((one) => Object.entries(shapes[one] ?? {})));
  const check = (value: unknown, type: string, place: string): string[] => {
    if (value === null || value === undefined || type === 'any') return [];
    if (type.startsWith('#')) return checkShape(value, type.slice(1), place);
    if (/^(\[\]|\{\})/.test(type)) return checkMembers(value, type, place);
    return type.split('|').some((one) => isOfType(value, one)) ? [] : [`${place} is no ${type}`];
  };
  const checkMembers = (value: unknown, type: string, place: string): string[] => {
    const isList = type.startsWith('[]');
    if (Array.isArray(value) !== isList || typeof value !== 'object')
      return [`${place} is no ${isList ? 'list' : 'object'}`];
    return Object.entries(value ?? {}).flatMap(([name, one]) =>
      check(one, type.slice(2), isList ? `${place}[${name}]` : `${place}.${name}`),
    );
  };
  const checkShape = (value: unknown, name: string, place: string): string[] => {
    const shape = known.get(name);
    if (shape === undefined) return [`${place}: ${version} has no ${name}`];
    if (shape.startsWith('=')) return check(value, shape.slice(1), place);
    if (!isObject(value)) return [`${place} is no object`];
    const fields = new Map(
      shape.split(' ').map((field) => {
        const at = field.indexOf(':');
        return [field.slice(0, at).replace('!', ''), field.slice(at + 1)];
      }),
    );
    const required = [...shape.matchAll(/(\S+?)!:/g)].map(([, field = '']) => field);
    return [
      ...required
        .filter((field) => value[field] === undefined)
        .map((field) => `${place}.${field} is missing`),
      ...Object.entries(value).flatMap(([field, one]) => {
        const type = fields.get(field);
        return type === undefined
          ? [`${place}.${field} is unknown to ${version}`]
          : check(one, type, `${place}.${field}`);
      }),
    ];
  };
  return {
    check: (object) => {
      const kind = `${object.apiVersion} ${object.kind}`;
      const shape = known.get(kind);
      return shape ? check(object, shape.slice(1), object.kind) : [`${version} has no ${kind}`];
    },
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'object') return isObject(value);
  return typeof value === type;
}
