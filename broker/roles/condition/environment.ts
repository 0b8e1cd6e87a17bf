// The functions of CEL as conditions may call them: all of the standard library, each paying by the size of what it is
// given, and two of our own that the compiler puts around loops. Nothing here reads a clock, a file or the network.
import {
  type CelEnv,
  type CelFunc,
  type CelInput,
  CelScalar,
  type CelValue,
  celEnv,
  celFunc,
  celList,
  celMethod,
  isCelError,
  isCelList,
  isCelMap,
  listType,
} from '@bufbuild/cel';
import type { Meter } from './meter.ts';
import { weighPattern } from './pattern.ts';

/** Called around the condition of every loop: `(steps of one round, condition)`. No name a user can write. */
export const TICK = '@tick';
/** Called around what a loop runs over. */
export const RANGE = '@range';

const CHARACTERS_PER_STEP = 32;
/** Functions whose work is a pass over their texts; any other is charged by the character. */
const CHEAP = new Set('_==_ _!=_ _<_ _<=_ _>_ _>=_ _+_ startsWith endsWith size @in'.split(' '));
// Intl.DateTimeFormat: some 0.2 ms each time.
const TIME_ZONE_STEPS = 1000;
// What it takes to compile a pattern of no length.
const PATTERN_STEPS = 100;

/** Makes the environment; whatever is evaluated in it charges `meter`. */
export function createEnvironment(meter: Meter): CelEnv {
  const { BOOL, DYN, INT } = CelScalar;
  const list = listType(DYN);
  return celEnv({
    funcs: [
      ...[...celEnv().funcs].map((func) => toMetered(func, meter)),
      // The library's own sum is a tree that is walked whole for every item looked up in it.
      celFunc('_+_', [list, list], list, (left, right) => {
        meter.charge(1 + (left.size + right.size) / 2);
        return celList([...left, ...right]);
      }),
      celFunc(TICK, [INT, BOOL], BOOL, (steps, isGoingOn) => {
        meter.charge(Number(steps));
        return isGoingOn;
      }),
      celFunc(RANGE, [DYN], DYN, (range) => {
        if (isCelList(range) || isCelMap(range)) meter.charge(range.size);
        return range as CelInput;
      }),
    ],
  });
}

function toMetered(func: CelFunc, meter: Meter): CelFunc {
  const { name, target, arguments: parameters, result } = func;
  const call = (self: CelValue | undefined, given: CelValue[]): CelInput => {
    meter.charge(toPrice(name, self === undefined ? given : [self, ...given], meter));
    const value = func.call(0, self, given);
    if (isCelError(value)) throw value;
    return value as CelInput;
  };
  return target === undefined
    ? celFunc(name, parameters, result, (...given) => call(undefined, given as CelValue[]))
    : celMethod(name, target, parameters, result, function (this: CelValue, ...given) {
        return call(this, given as CelValue[]);
      });
}

function toPrice(name: string, given: readonly CelValue[], meter: Meter): number {
  const [first, second] = given;
  if (typeof first === 'string' && typeof second === 'string') {
    // The compiler lets only weighed literals be patterns.
    if (name === 'matches') return PATTERN_STEPS + (weighPattern(second) * (8 + first.length)) / 4;
    // Looking for `aaab` in `aaaa…` is quadratic at worst.
    if (name === 'contains') return 1 + (first.length * Math.min(second.length, 64)) / 256;
  }
  if (name.startsWith('get') && given.length === 2) return TIME_ZONE_STEPS;
  const perStep = CHEAP.has(name) ? CHARACTERS_PER_STEP : 1;
  return given.reduce<number>((sum, value) => sum + toSize(value, perStep, meter), 1);
}

/** Walks lists and maps to their ends and pays as it goes, so that a walk cannot cost more than the meter has left. */
function toSize(value: CelValue, perStep: number, meter: Meter): number {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length / perStep;
  if (!isCelList(value) && !isCelMap(value)) return 0;
  meter.charge(value.size);
  let size = 0;
  for (const item of value.values()) size += toSize(item, perStep, meter);
  return size;
}
