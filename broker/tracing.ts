// Which steps of a request are spans: the check of its token, the API server's review, each call of the store. (The
// signature is one too, in issuing.ts.) common/tracing.ts has what a span is.
import { type Tracing, traceCalls } from '../common/tracing.ts';
import type { Validate } from './identity/validate.ts';
import type { Store } from './store/store.ts';

/** `validate`, and `review` where an API server may be asked. */
export function traceValidate(validate: Validate, tracing: Tracing): Validate {
  if (!tracing.isOn) return validate;
  return async (token, wanted) => {
    const proof = await tracing.step('validate', () => validate(token, wanted));
    if (proof.validation.review === undefined) return proof;
    return {
      ...proof,
      confirm: (audience) => tracing.step('review', () => proof.confirm(audience)),
    };
  };
}

const TRACED = [
  'tokens',
  'denials',
  'deaths',
  'roles',
  'clusters',
  'keys',
  'clients',
  'decisions',
] as const;

/** The store, each of its calls a span `store.<part> <call>` of the request that makes it. */
export function traceStore<T extends Store>(store: T, tracing: Tracing): T {
  if (!tracing.isOn) return store;
  const parts = new Map<PropertyKey, object>(
    TRACED.map((part) => [part, traceCalls(tracing, `store.${part}`, store[part])]),
  );
  return new Proxy(store, {
    get: (target, property) => {
      const part = parts.get(property);
      if (part) return part;
      const member: unknown = Reflect.get(target, property, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}
