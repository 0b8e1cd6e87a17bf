// Label selectors as Kubernetes reads them, over the labels of a namespace.
import type { LabelExpression, LabelSelector } from './role.ts';

export type Labels = Readonly<Record<string, string>>;

/** Whether both parts of the selector hold. `NotIn` and `DoesNotExist` hold for labels that are not there. */
export function isSelected(selector: LabelSelector, labels: Labels): boolean {
  return toExpressions(selector).every((expression) => isTrue(expression, labels));
}

/** `tier=web,env in (a,b),!old`, as kubectl writes it. */
export function toSelectorText(selector: LabelSelector): string {
  return toExpressions(selector).map(toText).join(',');
}

/** Whether no labels at all can satisfy both: their demands on one key exclude one another. */
export function isDisjoint(a: LabelSelector, b: LabelSelector): boolean {
  const all = [...toExpressions(a), ...toExpressions(b)];
  return Map.groupBy(all, ({ key }) => key)
    .values()
    .some((group) => !isPossible(group));
}

/** Steps that it takes to hold one selector against another. */
export function toComparisonCost(a: LabelSelector, b: LabelSelector): number {
  const all = [...toExpressions(a), ...toExpressions(b)];
  const values = all.reduce((sum, expression) => sum + (expression.values?.length ?? 0), 0);
  return (values + 2) * (values + all.length);
}

/** The names of the only namespaces that can be selected, where the selector says so by the label all have. */
export function findNamed(selector: LabelSelector): readonly string[] | undefined {
  return toExpressions(selector).find(
    ({ key, operator }) => key === 'kubernetes.io/metadata.name' && operator === 'In',
  )?.values;
}

function isPossible(expressions: readonly LabelExpression[]): boolean {
  const { key = '' } = expressions[0] ?? {};
  // A value that nobody names stands for all the others.
  const named = expressions.flatMap(({ values = [] }) => values);
  const other = `${named.join('')}-`;
  const worlds: Labels[] = [{}, ...[...named, other].map((value) => ({ [key]: value }))];
  return worlds.some((labels) => expressions.every((expression) => isTrue(expression, labels)));
}

function toExpressions({
  matchLabels = {},
  matchExpressions = [],
}: LabelSelector): readonly LabelExpression[] {
  return [
    ...Object.entries(matchLabels).map(
      ([key, value]): LabelExpression => ({ key, operator: 'In', values: [value] }),
    ),
    ...matchExpressions,
  ];
}

function isTrue({ key, operator, values = [] }: LabelExpression, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  const isIn = value !== undefined && values.includes(value);
  switch (operator) {
    case 'In':
      return isIn;
    case 'NotIn':
      return !isIn;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

function toText({ key, operator, values = [] }: LabelExpression): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(',')})`;
    case 'NotIn':
      return `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
  }
}
