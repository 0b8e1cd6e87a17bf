// From the text of a condition to something that answers: parsed and looked through once, when the role is loaded.
// Whatever CEL might leave to chance at run time (an unknown name, a pattern made of the caller's own text) is a problem
// of the role; whatever still goes wrong when it is asked is a deny.
import { isCelError, parse, plan } from '@bufbuild/cel';
import type { Condition } from '../role.ts';
import { createEnvironment } from './environment.ts';
import { inspect } from './inspect.ts';
import { createMeter, MAX_STEPS, type Meter } from './meter.ts';
import { NAMESPACE_ALIAS, renameNamespace } from './reserved.ts';
import { findKinds, toBindings } from './variables.ts';

export type CompiledCondition =
  | { readonly ok: true; readonly condition: Condition }
  | { readonly ok: false; readonly problems: readonly string[] };

export type CompileCondition = (text: string) => CompiledCondition;

export const MAX_CONDITION_LENGTH = 2048;
// The parser is recursive, and quadratic in what is left open.
const MAX_BRACKETS = 100;
const MAX_ERROR_LENGTH = 200;

/** Makes a compiler; all it compiles shares one environment. */
export function createConditionCompiler(): CompileCondition {
  const meter = createMeter();
  const env = createEnvironment(meter);
  return (text) => {
    if (text.length > MAX_CONDITION_LENGTH)
      return refuse(`must be at most ${MAX_CONDITION_LENGTH} characters`);
    if (text.replace(/[^([{]/g, '').length > MAX_BRACKETS)
      return refuse(`must have at most ${MAX_BRACKETS} opening brackets`);
    const renamed = renameNamespace(text);
    if (renamed === undefined)
      return refuse(`knows no variable of the name ${NAMESPACE_ALIAS}; did you mean namespace?`);
    const parsed = parseText(renamed);
    if (typeof parsed === 'string') return refuse(parsed);
    const { problems, variables } = inspect(parsed, { text, env, meter });
    if (problems.length > 0) return { ok: false, problems };
    const answer = plan(env, parsed);
    return { ok: true, condition: toCondition(text, { answer, variables, meter }) };
  };
}

type Parsed = ReturnType<typeof parse>;

function parseText(text: string): Parsed | string {
  try {
    return parse(text);
  } catch (error) {
    const { location } = Object(error) as {
      location?: { start?: { line: number; column: number } };
    };
    const at = location?.start
      ? ` at line ${location.start.line}, column ${location.start.column}`
      : '';
    return `is not valid CEL${at}`;
  }
}

function refuse(problem: string): CompiledCondition {
  return { ok: false, problems: [problem] };
}

interface Planned {
  readonly answer: ReturnType<typeof plan>;
  readonly variables: ReadonlySet<string>;
  readonly meter: Meter;
}

function toCondition(text: string, { answer, variables, meter }: Planned): Condition {
  const evaluate: Condition['evaluate'] = (subject, request, allowance) => {
    meter.reset(Math.min(MAX_STEPS, allowance?.steps ?? MAX_STEPS));
    try {
      const bindings = toBindings(subject, request, { names: variables, meter });
      const result = answer(bindings);
      // An error may have been absorbed by `||`: half an answer is none.
      meter.charge(0);
      if (isCelError(result)) {
        const missing = [...variables].filter((name) => !(name in bindings));
        return { ok: false, got: toText(result, missing) };
      }
      if (typeof result !== 'boolean') return { ok: false, got: 'the result is no boolean' };
      return result ? { ok: true } : { ok: false, got: false };
    } catch (error) {
      return { ok: false, got: toText(error) };
    } finally {
      if (allowance) allowance.steps = Math.max(0, allowance.steps - meter.spent());
    }
  };
  return { text, kinds: findKinds(variables), evaluate };
}

function toText(error: unknown, missing: readonly string[] = []): string {
  const message = `error: ${(error as Error).message}`.slice(0, MAX_ERROR_LENGTH);
  return missing.length > 0 ? `${message}; this subject has no ${missing.join(', ')}` : message;
}
