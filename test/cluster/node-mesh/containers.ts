// The containers of a pod as the API server has it, and what a suite asks of them.
import { expect } from 'chai';
import type { Pod } from '../harness/node/suite.ts';

const TOKENS = 'coatcheck-tokens';

export interface Container {
  readonly name: string;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly env?: readonly { readonly name: string }[];
}

export function getContainers({ spec }: Pod): readonly Container[] {
  return spec.containers as readonly Container[];
}

export function getInitContainers({ spec }: Pod): readonly Container[] {
  return (spec.initContainers ?? []) as readonly Container[];
}

export function getAll(pod: Pod): readonly Container[] {
  return [...getInitContainers(pod), ...getContainers(pod)];
}

export function hasTokens({ volumeMounts = [] }: Container): boolean {
  return volumeMounts.some(({ name }) => name === TOKENS);
}

export function expectUnique(values: readonly string[], what: string): void {
  expect([...new Set(values)], what).to.deep.equal(values);
}

/**
 * Without the mounts of the default token: the API server adds them before it asks webhooks again, and what these then
 * write has none. The name of its volume is random.
 */
export function withoutApiAccess(value: unknown): unknown {
  const isMount = (one: unknown) =>
    String((one as { name?: unknown } | null)?.name).startsWith('kube-api-access');
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) =>
      key === 'volumeMounts' && Array.isArray(inner) ? inner.filter((one) => !isMount(one)) : inner,
    ),
  );
}
