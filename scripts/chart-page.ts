// The table of values in the chart's README: places and meanings from values.yaml and its comments, what is allowed from
// values.schema.json. Both stay written by hand; a value that one of them does not know, or nobody explains, is refused here.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { isMap, isScalar, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';

const CHART = path.join(import.meta.dirname, '../charts/coatcheck');

/** A value without a comment has that of its namesake; `enabled` that of what it enables. */
const NAMESAKES: readonly (readonly [part: string, namesake: string])[] = [
  ['broker.', 'webhook.'],
  ['controller.', 'webhook.'],
  ['exchange.image.', 'image.'],
];

export interface ChartValue {
  /** `webhook.tls.secretName`. */
  readonly place: string;
  readonly default: unknown;
  /** `string`, `"a" or "b"`, `integer, 1 to 9`. */
  readonly allowed: string;
  readonly meaning: string;
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly definitions?: Readonly<Record<string, Schema>>;
}

/**
 * Every value that can be set, in the order of values.yaml.
 * @throws Error that names each value without an explanation or a schema.
 */
export function listChartValues(
  text = readFileSync(path.join(CHART, 'values.yaml'), 'utf8'),
  root = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8')) as Schema,
): readonly ChartValue[] {
  const resolve = (schema: Schema | undefined): Schema | undefined =>
    schema?.$ref === undefined ? schema : root.definitions?.[schema.$ref.split('/').at(-1) ?? ''];
  const document = parseDocument(text);
  const found = walk(document.contents as YAMLMap, root, resolve);
  const comments = new Map(found.map(({ place, comment }) => [place, comment]));
  const problems: string[] = [];
  const values = found
    .filter(({ isGroup }) => !isGroup)
    .map(({ place, value, schema, comment }) => {
      const meaning = comment || findNamesake(place, comments);
      if (meaning === '') problems.push(`${place} has no comment in values.yaml`);
      if (!schema) problems.push(`${place} is not in values.schema.json`);
      return { place, default: value, allowed: describeAllowed(schema ?? {}), meaning };
    });
  if (problems.length > 0) throw new Error(`charts/coatcheck: ${problems.join('; ')}`);
  return values;
}

interface Found {
  readonly place: string;
  readonly isGroup: boolean;
  readonly value: unknown;
  readonly schema: Schema | undefined;
  readonly comment: string;
}

function walk(
  map: YAMLMap,
  schema: Schema,
  resolve: (schema: Schema | undefined) => Schema | undefined,
  above = '',
): Found[] {
  return (map.items as Pair<Node, Node>[]).flatMap(({ key, value }, index) => {
    if (!isScalar(key))
      throw new Error(`values.yaml: a key below ${above || 'the top'} is no text`);
    // The first comment of a map stands, for the parser, before the map.
    const before = key.commentBefore ?? (index === 0 && above !== '' ? map.commentBefore : '');
    const name = String(key.value);
    const below = resolve(schema.properties?.[name]);
    const place = `${above}${name}`;
    const isGroup = isMap(value) && value.items.length > 0 && below?.properties !== undefined;
    const own: Found = {
      place,
      isGroup,
      value: (value as { toJSON?: () => unknown }).toJSON?.() ?? null,
      schema: below,
      comment: toSentence(before ?? ''),
    };
    return isGroup ? [own, ...walk(value, below ?? {}, resolve, `${place}.`)] : [own];
  });
}

/** Without what is indented: examples, which do not fit into a cell. Of several paragraphs the last. */
function toSentence(comment: string): string {
  return (comment.split('\n\n').at(-1) ?? '')
    .split('\n')
    .filter((line) => !/^ {2}/.test(line))
    .map((line) => line.trim())
    .join(' ')
    .replace(/:$/, '.');
}

function findNamesake(place: string, comments: ReadonlyMap<string, string>): string {
  const others = NAMESAKES.filter(([part]) => place.startsWith(part)).map((pair) =>
    place.replace(...pair),
  );
  const group = place.endsWith('.enabled') ? [place.replace(/\.enabled$/, '')] : [];
  return [...others, ...group].map((one) => comments.get(one)).find(Boolean) ?? '';
}

function describeAllowed(schema: Schema): string {
  if (schema.enum) return schema.enum.map((one) => `\`${String(one)}\``).join(', ');
  const types = [schema.type ?? 'any'].flat().join(' or ');
  const { minimum, maximum } = schema;
  if (minimum !== undefined && maximum !== undefined) return `${types}, ${minimum} to ${maximum}`;
  return minimum === undefined ? types : `${types}, from ${minimum}`;
}
