// Single values out of a form. RFC 6749 §3.2: a parameter must not be included more than once; two readers of such a
// request may each take another one.
import { BrokerError } from '../../errors.ts';
import type { Form } from './form.ts';

// RFC 8693 §2.1: these two may come several times.
const REPEATABLE: readonly string[] = ['audience', 'resource'];

/** @throws BrokerError `parameter_repeated`, for names we know and for names we do not. */
export function checkRepeated(form: Form): void {
  for (const [name, values] of form) {
    if (values.length > 1 && !REPEATABLE.includes(name))
      throw new BrokerError('parameter_repeated');
  }
}

/** The value of a parameter that may be left out. */
export function findSingle(form: Form, name: string): string | undefined {
  return form.get(name)?.[0];
}

/** @throws BrokerError `parameter_missing` */
export function getSingle(form: Form, name: string): string {
  const value = findSingle(form, name);
  if (value === undefined) throw new BrokerError('parameter_missing', `${name} is missing`);
  return value;
}
