// Step 2: random pods that ask for tokens, the same after they were injected (a second pass, a copied live pod), and the same
// with one more container than they had then. The webhook's code says what must come out.
import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { inject } from '../../../webhook/inject.ts';
import { SETTINGS } from '../../webhook/golden.ts';
import { container, pod } from '../../webhook/random-pods.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { applyOperations, findCode, toText, tryPlain } from './compare.ts';
import { needPolicies, type PolicyStage, setPolicyStage } from './stage.ts';

// A pod that mounts a volume it does not have is no pod.
const withVolume = (given: JsonObject): JsonObject => ({
  ...given,
  spec: { ...(given.spec as JsonObject), volumes: [{ name: 'data', emptyDir: {} }] },
});

interface Lists {
  spec: { containers: JsonObject[]; initContainers: JsonObject[] };
}

describe('policy mode, step 2: random pods', function () {
  this.timeout(180_000);
  let cluster: Cluster;
  let stage: PolicyStage;
  let plain: TestNamespace;

  before(async function () {
    cluster = openCluster();
    const version = await needPolicies(this, cluster);
    stage = await setPolicyStage(version, SETTINGS);
    plain = await createNamespace(cluster, 'policy-plain');
  });
  after(async () => {
    await stage?.clear();
    await plain?.remove();
  });

  function injected(given: JsonObject): JsonObject {
    const injection = inject(given, SETTINGS);
    if (!injection.ok) throw new Error(injection.denials.map(({ message }) => message).join('\n'));
    return applyOperations(given, injection.operations);
  }

  /** Whether the API server takes such a pod at all; policy and webhook must agree on that, and on what comes out. */
  async function agrees(given: JsonObject): Promise<boolean> {
    const byHand = await tryPlain(cluster, plain, injected(given));
    const byPolicy = await stage.try(given);
    const isValid = byHand.status === 201;
    expect(byPolicy.status === 201, String(byPolicy.body.message)).to.equal(isValid);
    if (isValid) expect(toText(byPolicy.body)).to.equal(toText(byHand.body));
    return isValid;
  }

  async function checkMany(all: readonly JsonObject[]): Promise<void> {
    let admitted = 0;
    for (const one of all) if (await agrees(one)) admitted += 1;
    expect(admitted).to.be.greaterThan(all.length / 4);
  }

  // A fixed seed: a failure here shall come again.
  const sample = <T>(arbitrary: fc.Arbitrary<T>) => fc.sample(arbitrary, { seed: 20, numRuns: 60 });
  const isKnown = (given: JsonObject) => !JSON.stringify(given).includes('https://');
  const pods = pod.map(withVolume).filter(isKnown);

  it('come out as from the webhook', () => checkMany(sample(pods)));

  it('are left alone where they are injected already', () => checkMany(sample(pods).map(injected)));

  it('serve a container that was added since, wherever it stands', () => {
    const grown = sample(fc.tuple(pods, container('late'), fc.nat())).map(([given, late, seed]) => {
      const after = structuredClone(injected(given)) as JsonObject & Lists;
      const list = seed % 2 === 0 ? after.spec.containers : after.spec.initContainers;
      list.splice(seed % (list.length + 1), 0, late);
      return after;
    });
    return checkMany(grown);
  });

  it('are refused where they name an audience that the policies were not told of', async () => {
    const given = sample(pod).find((one) => !isKnown(one)) as JsonObject;
    expect(findCode(await stage.try(withVolume(given)))).to.equal('needs_webhook');
  });
});
