// Random pods that ask for tokens, of every shape the injection tells apart.
import fc from 'fast-check';
import type { JsonObject } from '../../common/protocol/admission.ts';

const json = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonObject[string]>;
const unknownFields = fc.dictionary(fc.stringMatching(/^future[A-Z][a-z]{0,5}$/), json, {
  maxKeys: 2,
});
const uid = fc.constantFrom(undefined, undefined, 0, 1000, 2000);

/** A container of that name with or without everything the injection looks at. */
export function container(name: string): fc.Arbitrary<JsonObject> {
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

/** A pod that asks for tokens in a way that is allowed. */
export const pod: fc.Arbitrary<JsonObject> = fc
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
