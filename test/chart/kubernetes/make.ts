// Makes shapes.json anew: which fields the objects have that the chart renders, for each version of Kubernetes that it is
// for. Takes a folder with the strict schemas of the Python package kubernetes-validate, a folder per version:
//   pip download --no-deps kubernetes-validate && unzip -q kubernetes_validate-*.whl
//   node test/chart/kubernetes/make.ts kubernetes_validate/kubernetes-json-schema
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { KINDS, type Shapes, VERSIONS } from './shapes.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
  readonly 'x-kubernetes-group-version-kind'?: readonly {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  }[];
}

function toType(schema: Schema): string {
  if (schema.$ref !== undefined) return `#${schema.$ref.split('/').at(-1)}`;
  if (schema.oneOf) return schema.oneOf.map(toType).join('|');
  const [type] = [schema.type ?? []].flat().filter((one) => one !== 'null');
  if (type === 'array') return `[]${toType(schema.items ?? {})}`;
  if (type === 'object' && typeof schema.additionalProperties === 'object')
    return `{}${toType(schema.additionalProperties)}`;
  return type ?? 'any';
}

function toShape(schema: Schema): string {
  // A value with a form of its own, like a quantity or a time; or an object of anything.
  if (!schema.properties) return `=${toType(schema)}`;
  return Object.entries(schema.properties)
    .map(([name, field]) => `${name}${schema.required?.includes(name) ? '!' : ''}:${toType(field)}`)
    .join(' ');
}

function readVersion(folder: string): Record<string, string> {
  const file = path.join(folder, '_definitions.json');
  const { $defs } = JSON.parse(readFileSync(file, 'utf8')) as { $defs: Record<string, Schema> };
  const found: Record<string, string> = {};
  const waiting = Object.entries($defs).flatMap(([name, schema]) =>
    (schema['x-kubernetes-group-version-kind'] ?? [])
      .map(({ group, version, kind }) => `${group ? `${group}/` : ''}${version} ${kind}`)
      .filter((kind) => KINDS.includes(kind))
      .map((kind) => {
        found[kind] = `=#${name}`;
        return name;
      }),
  );
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const shape = toShape($defs[name] ?? {});
    if (found[name] === shape) continue;
    found[name] = shape;
    waiting.push(...[...shape.matchAll(/#([^\s|]+)/g)].map(([, next = '']) => next));
  }
  return found;
}

const [folder = ''] = process.argv.slice(2);
const shapes: Shapes = {};
let known: Record<string, string> = {};
for (const version of VERSIONS) {
  const all = readVersion(path.join(folder, `v${version}.0-local-strict`));
  const changed = Object.entries(all).filter(([name, shape]) => known[name] !== shape);
  const gone = Object.keys(known).filter((name) => !(name in all));
  shapes[version] = Object.fromEntries(
    [...changed, ...gone.map((name) => [name, ''])].sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
  known = all;
}
const file = path.join(import.meta.dirname, 'shapes.json');
writeFileSync(file, `${JSON.stringify(shapes, null, 2)}\n`);
