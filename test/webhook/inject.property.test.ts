// Random pods: whatever the shape, result = input + ours, a second pass does nothing, foreign fields survive, and nothing throws.
import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject } from '../../common/protocol/admission.ts';
import { inject } from '../../webhook/inject.ts';
import { SETTINGS } from './golden.ts';
import { applyOperations, checkPromises } from './oracle.ts';

const json = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonObject[string]>;
const unknownFields = fc.dictionary(fc.stringMatching(/^future[A-Z][a-z]{0,5}$/), json, {
  maxKeys: 2,
});
const uid = fc.constantFrom(undefined, undefined, 0, 1000, 2000);

function container(name: string): fc.Arbitrary<JsonObject> {
  const variable = fc.record({
    name: fc.constantFrom('A', 'B', 'AUTH_ISSUER'),
    value: fc.string(),
  });
  const mount = fc.record({
    name: fc.constant('data'),
    mountPath: fc.constantFrom('/data', '/var/run', '/var/run/secrets/other'),
  });
  const amount = fc.constantFrom(
    undefined,
    { cpu: '1', memory: '1Gi' },
    { cpu: '250m', memory: '64Mi' },
  );
  return fc
    .record({
      future: unknownFields,
      env: fc.option(fc.uniqueArray(variable, { maxLength: 2, selector: (v) => v.name }), {
        nil: undefined,
      }),
      mounts: fc.option(fc.uniqueArray(mount, { maxLength: 2, selector: (m) => m.mountPath }), {
        nil: undefined,
      }),
      uid,
      limits: amount,
      requests: amount,
      restartPolicy: fc.constantFrom(undefined, 'Always'),
    })
    .map(({ future, env, mounts, uid: user, limits, requests, restartPolicy }) => ({
      ...future,
      name,
      image: 'registry.example.io/x:1',
      ...(env && { env }),
      ...(mounts && { volumeMounts: mounts }),
      ...(user !== undefined && { securityContext: { runAsUser: user } }),
      ...((limits || requests) && {
        resources: { ...(limits && { limits }), ...(requests && { requests }) },
      }),
      ...(restartPolicy && name.startsWith('init') && { restartPolicy }),
    }));
}

const annotations = fc
  .record({
    list: fc.constantFrom(
      'payments',
      'payments, ledger',
      'https://x.example.io/$(HOME)',
      'a,b,c,https://d.example.io',
    ),
    named: fc.boolean(),
    mode: fc.constantFrom(undefined, 'init', 'refresh'),
    order: fc.constantFrom(undefined, 'first', 'last'),
    containers: fc.constantFrom(undefined, 'app0', 'app0,app1'),
    narrowed: fc.constantFrom(undefined, 'app1'),
    expiration: fc.option(fc.integer({ min: 600, max: 86_400 }), { nil: undefined }),
    deadline: fc.option(fc.integer({ min: 1, max: 600 }), { nil: undefined }),
  })
  .map(({ list, named, mode, order, containers, narrowed, expiration, deadline }) => {
    const given: Record<string, unknown> = {
      audience: list,
      ...(named && { 'audience.extra': 'urn:extra', 'role.extra': 'reader' }),
      ...(named && narrowed && { 'containers.extra': narrowed }),
      mode,
      'init-order': order,
      containers,
      'token-expiration': expiration?.toString(),
      deadline: deadline?.toString(),
    };
    const kept = Object.entries(given).filter(([, value]) => value !== undefined);
    return Object.fromEntries(
      kept.map(([key, value]) => [`auth.example.io/${key}`, value as string]),
    );
  });

const pod: fc.Arbitrary<JsonObject> = fc
  .record({
    top: unknownFields,
    spec: unknownFields,
    annotations,
    foreign: fc.dictionary(fc.stringMatching(/^x\.example\.io\/[a-z]{1,5}$/), fc.string(), {
      maxKeys: 2,
    }),
    apps: fc.tuple(container('app0'), container('app1')),
    inits: fc.option(
      fc.oneof(
        fc.constant([]),
        fc.tuple(container('init0')),
        fc.tuple(container('init0'), container('init1')),
      ),
      { nil: undefined },
    ),
    restartPolicy: fc.constantFrom(undefined, 'Always', 'OnFailure', 'Never'),
    uid,
    hasVolumes: fc.boolean(),
  })
  .map((given) => ({
    ...given.top,
    metadata: { generateName: 'x-', annotations: { ...given.foreign, ...given.annotations } },
    spec: {
      ...given.spec,
      ...(given.hasVolumes && { volumes: [{ name: 'data', emptyDir: {} }] }),
      ...(given.inits && { initContainers: given.inits }),
      ...(given.restartPolicy && { restartPolicy: given.restartPolicy }),
      ...(given.uid !== undefined && { securityContext: { runAsUser: given.uid } }),
      containers: given.apps,
    },
  }));

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
