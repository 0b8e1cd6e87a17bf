// How long each operation of the store takes, and how it ends, for whoever asks to be told.
import type { StoreOperation } from './store.ts';
import { StoreError } from './store.ts';

type Methods = Readonly<Record<string, unknown>>;

/** The same methods; each call is told of as `<name>.<method>` when it has ended. */
export function observe<T extends object>(
  name: string,
  methods: T,
  tell: (operation: StoreOperation) => void,
): T {
  const observed = Object.entries(methods as Methods).map(([method, call]) => [
    method,
    toObserved(`${name}.${method}`, call as (...args: unknown[]) => Promise<unknown>, tell),
  ]);
  return Object.fromEntries(observed) as T;
}

function toObserved(
  operation: string,
  call: (...args: unknown[]) => Promise<unknown>,
  tell: (operation: StoreOperation) => void,
): (...args: unknown[]) => Promise<unknown> {
  return async (...args) => {
    const startedAt = performance.now();
    const end = (outcome: StoreOperation['outcome']) =>
      tell({ operation, outcome, seconds: (performance.now() - startedAt) / 1000 });
    try {
      const result = await call(...args);
      end('ok');
      return result;
    } catch (error) {
      end(error instanceof StoreError ? error.kind : 'failure');
      throw error;
    }
  };
}
