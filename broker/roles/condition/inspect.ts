// Looks through the tree of a condition before anything is evaluated: names that nothing can answer, patterns that are
// not literals, loops in loops in loops. And puts a turnstile around every loop, so that each round is paid for.
import { type CelEnv, isCelError, type parse } from '@bufbuild/cel';
import { didYouMean } from '../../../common/spelling.ts';
import { RANGE, TICK } from './environment.ts';
import type { Meter } from './meter.ts';
import { findPatternProblem } from './pattern.ts';
import { NAMESPACE_ALIAS } from './reserved.ts';
import { ALL_VARIABLES } from './variables.ts';

type Parsed = ReturnType<typeof parse>;
type Expr = Parsed['expr'];
type ExprOf<Case extends Expr['exprKind']['case']> = Extract<
  Expr['exprKind'],
  { case: Case }
>['value'];

const MAX_LOOP_DEPTH = 3;
const MAX_DEPTH = 250;
/** What the evaluator knows besides functions. */
const OPERATORS = new Set(['_&&_', '_||_', '_?_:_', '_[_]', '@not_strictly_false']);
const TYPES = new Set('int uint double bool string bytes list map null_type type'.split(' '));

export interface Inspection {
  /** With line and column; names are quoted as far as they are short words. */
  readonly problems: readonly string[];
  /** Variables of the subject or the request that the condition asks for. */
  readonly variables: ReadonlySet<string>;
}

interface Walk {
  readonly env: CelEnv;
  readonly meter: Meter;
  readonly variables: Set<string>;
  fail(expr: Expr, problem: string): void;
}

interface Place {
  /** Names that loops around it bind. */
  readonly bound: readonly string[];
  readonly loops: number;
  readonly depth: number;
}

/** Finds what is wrong, and changes the tree so that loops are metered. */
export function inspect(
  { expr, sourceInfo }: Parsed,
  { text, env, meter }: { text: string; env: CelEnv; meter: Meter },
): Inspection {
  const problems = new Set<string>();
  const variables = new Set<string>();
  const fail = ({ id }: Expr, problem: string) => {
    const offset = sourceInfo?.positions[String(id)] ?? 0;
    problems.add(`${problem} at ${toPosition(text, offset)}`);
  };
  walk(expr, { bound: [], loops: 0, depth: 0 }, { env, meter, variables, fail });
  return { problems: [...problems], variables };
}

function toPosition(text: string, offset: number): string {
  const lines = text.slice(0, offset).split('\n');
  return `line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1}`;
}

/** @returns the number of nodes, which is what one evaluation of them costs */
function walk(expr: Expr, place: Place, by: Walk): number {
  if (place.depth > MAX_DEPTH) {
    by.fail(expr, 'is nested too deeply');
    return 1;
  }
  const within = { ...place, depth: place.depth + 1 };
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'identExpr':
      checkName(expr, toVariable(exprKind.value.name), { place, by });
      return 1;
    case 'constExpr':
      return 1;
    case 'selectExpr':
      return 1 + walkAll([exprKind.value.operand], within, by);
    case 'callExpr':
      checkCall(expr, exprKind.value, by);
      return 1 + walkAll([exprKind.value.target, ...exprKind.value.args], within, by);
    case 'listExpr':
      return 1 + walkAll(exprKind.value.elements, within, by);
    case 'structExpr': {
      if (exprKind.value.messageName !== '')
        by.fail(expr, 'makes a message, which no condition may,');
      const parts = exprKind.value.entries.flatMap(({ keyKind, value }) => [
        keyKind.case === 'mapKey' ? keyKind.value : undefined,
        value,
      ]);
      // A map is built anew each time.
      return 4 + parts.length + walkAll(parts, within, by);
    }
    case 'comprehensionExpr':
      return walkLoop(expr, exprKind.value, { place: within, by });
    default:
      by.fail(expr, 'holds something this version does not evaluate');
      return 1;
  }
}

function toVariable(name: string): string {
  const plain = name.replace(/^\./, '');
  return plain === NAMESPACE_ALIAS ? 'namespace' : plain;
}

function walkAll(list: readonly (Expr | undefined)[], place: Place, by: Walk): number {
  return list.reduce((sum, expr) => sum + (expr ? walk(expr, place, by) : 0), 0);
}

function checkName(expr: Expr, name: string, { place, by }: { place: Place; by: Walk }): void {
  if (place.bound.includes(name) || TYPES.has(name)) return;
  if (ALL_VARIABLES.has(name)) by.variables.add(name);
  else {
    by.fail(
      expr,
      `knows no variable of the name ${name.slice(0, 50)}${didYouMean(name, [...ALL_VARIABLES])}`,
    );
  }
}

function checkCall(expr: Expr, { function: name, args }: ExprOf<'callExpr'>, by: Walk): void {
  if (!OPERATORS.has(name) && !by.env.funcs.find(name)) {
    by.fail(expr, `knows no function of the name ${name.slice(0, 50)}`);
    return;
  }
  if (name !== 'matches') return;
  const kind = args.at(-1)?.exprKind;
  const pattern =
    kind?.case === 'constExpr' && kind.value.constantKind.case === 'stringValue'
      ? kind.value.constantKind.value
      : undefined;
  if (pattern === undefined) {
    by.fail(expr, 'must have a literal text as pattern of matches');
    return;
  }
  const problem = findPatternProblem(pattern);
  if (problem !== undefined) by.fail(expr, problem);
  else if (!isPattern(pattern, by))
    by.fail(expr, 'has a pattern that is no regular expression (RE2)');
}

function isPattern(pattern: string, { env, meter }: Walk): boolean {
  meter.reset();
  return !isCelError(env.funcs.find('matches')?.call(0, '', [pattern]));
}

function walkLoop(
  expr: Expr,
  loop: ExprOf<'comprehensionExpr'>,
  { place, by }: { place: Place; by: Walk },
): number {
  const loops = place.loops + 1;
  if (loops > MAX_LOOP_DEPTH) by.fail(expr, `has more than ${MAX_LOOP_DEPTH} loops in one another`);
  // A loop over what a loop made counts as one within it: texts and lists can double with each.
  const outside = { ...place, loops };
  const inside = { ...outside, bound: [...place.bound, toVariable(loop.iterVar), loop.accuVar] };
  const once =
    walkAll([loop.iterRange, loop.accuInit], outside, by) + walkAll([loop.result], inside, by);
  const each = walkAll([loop.loopCondition, loop.loopStep], inside, by);
  if (loop.iterRange) loop.iterRange = toCall(loop.iterRange, RANGE, [loop.iterRange]);
  if (loop.loopCondition) {
    const steps: Expr = {
      $typeName: 'cel.expr.Expr',
      id: expr.id,
      exprKind: {
        case: 'constExpr',
        value: {
          $typeName: 'cel.expr.Constant',
          constantKind: { case: 'int64Value', value: BigInt(each) },
        },
      },
    };
    loop.loopCondition = toCall(loop.loopCondition, TICK, [steps, loop.loopCondition]);
  }
  return once + 1;
}

function toCall({ id }: Expr, name: string, args: Expr[]): Expr {
  return {
    $typeName: 'cel.expr.Expr',
    id,
    exprKind: {
      case: 'callExpr',
      value: { $typeName: 'cel.expr.Expr.Call', function: name, args },
    },
  };
}
