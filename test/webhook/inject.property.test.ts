// Random pods: whatever the shape, result = input + ours, a second pass does nothing, foreign fields survive, and nothing throws.
import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject } from '../../common/protocol/admission.ts';
import { inject } from '../../webhook/inject.ts';
import { SETTINGS } from './golden.ts';
import { applyOperations, checkPromises } from './oracle.ts';
import { container, pod } from './random-pods.ts';

function injected(given: JsonObject): JsonObject {
  const injection = inject(given, SETTINGS);
  if (!injection.ok) throw new Error(injection.denials.map(({ message }) => message).join('\n'));
  return applyOperations(given, injection.operations);
}

// biome-ignore lint/suspicious/noExplicitAny: raw pods.
type Any = any;

describe('injection of random pods', () => {
  it('gives the input and ours, as the naive checker sees it', () => {
    fc.assert(
      fc.property(pod, (given) => checkPromises(given, injected(given), SETTINGS)),
      { numRuns: 400 },
    );
  });

  it('has nothing to do in a second pass', () => {
    fc.assert(
      fc.property(pod, (given) => {
        const second = inject(injected(given), SETTINGS);
        expect(second.ok && second.operations).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });

  it('serves containers that were added after it, wherever they stand', () => {
    fc.assert(
      fc.property(pod, container('late'), fc.nat(), (given, late, seed) => {
        const after = structuredClone(injected(given)) as Any;
        const list = seed % 2 === 0 ? after.spec.containers : after.spec.initContainers;
        list.splice(seed % (list.length + 1), 0, late);
        const again = injected(after);
        checkPromises(after, again, SETTINGS);
        const third = inject(again, SETTINGS);
        expect(third.ok && third.operations).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });

  it('never throws and never says yes to a pod that asks, whatever JSON stands where', () => {
    const places = [
      ['metadata'],
      ['metadata', 'annotations'],
      ['spec'],
      ['spec', 'containers'],
      ['spec', 'containers', '0'],
      ['spec', 'containers', '0', 'name'],
      ['spec', 'containers', '0', 'env'],
      ['spec', 'containers', '0', 'volumeMounts'],
      ['spec', 'containers', '0', 'securityContext'],
      ['spec', 'containers', '0', 'resources'],
      ['spec', 'initContainers'],
      ['spec', 'volumes'],
      ['spec', 'restartPolicy'],
      ['spec', 'os'],
    ];
    fc.assert(
      fc.property(pod, fc.constantFrom(...places), fc.jsonValue(), (given, place, value) => {
        const broken = structuredClone(given) as Any;
        const parent = place.slice(0, -1).reduce((at: Any, step) => at[step], broken);
        parent[place.at(-1) ?? ''] = value;
        const injection = inject(broken, SETTINGS);
        if (injection.ok) applyOperations(broken, injection.operations);
        else expect(injection.denials).to.not.equal([]);
      }),
      { numRuns: 500 },
    );
  });

  it('survives keys that mean something to JavaScript', () => {
    const hostile = JSON.parse(
      '{"__proto__":{"polluted":1},"metadata":{"annotations":{"__proto__":"x","constructor":"y","auth.example.io/audience":"payments"}},"spec":{"__proto__":{"containers":[]},"containers":[{"name":"__proto__","env":[{"name":"__proto__"}]},{"name":"constructor"}]}}',
    ) as JsonObject;
    const injection = inject(hostile, SETTINGS);
    expect(injection.ok && injection.operations.length).to.be.greaterThan(3);
    expect(({} as Any).polluted).to.equal(undefined);
  });

  it('answers for ten thousand containers within a second', () => {
    const containers = Array.from({ length: 10_000 }, (_, i) => ({ name: `c${i}` }));
    const big = (extra: object) => ({
      metadata: { annotations: { 'auth.example.io/audience': 'a,b,c,d,e,f,g,h', ...extra } },
      spec: { containers },
    });
    const start = performance.now();
    expect(inject(big({}), SETTINGS).ok).to.equal(true);
    expect(
      inject(
        big({ 'auth.example.io/containers': containers.map(({ name }) => `${name}x`).join(',') }),
        SETTINGS,
      ).ok,
    ).to.equal(false);
    // A bound against accidental squares (10^8 steps), not a benchmark.
    expect(performance.now() - start).to.be.below(5000);
  });
});
