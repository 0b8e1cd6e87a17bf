// Step 1: every golden pod with the policies and no webhook: injected byte for byte as by the webhook, or refused with the
// same code, the same annotation and what is allowed; what only the webhook can do is refused in words that say so.
import { expect } from 'chai';
import type { Denial } from '../../../webhook/errors.ts';
import type { InjectSettings } from '../../../webhook/inject-settings.ts';
import { type GoldenCase, loadGoldenCases } from '../../webhook/golden.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { applyOperations, checkSame, findCode, tryPlain } from './compare.ts';
import { needPolicies, type PolicyStage, setPolicyStage } from './stage.ts';

const CASES = loadGoldenCases();

describe('policy mode, step 1: golden pods', function () {
  this.timeout(180_000);
  const stages = new Map<string, PolicyStage>();
  let cluster: Cluster;
  let plain: TestNamespace;

  before(async function () {
    cluster = openCluster();
    const version = await needPolicies(this, cluster);
    plain = await createNamespace(cluster, 'policy-plain');
    const all = new Map(CASES.map(({ settings }) => [JSON.stringify(settings), settings]));
    // At once: the API server takes seconds to learn of policies.
    const set = async ([key, settings]: [string, InjectSettings]) => {
      stages.set(key, await setPolicyStage(version, settings));
    };
    await Promise.all([...all].map(set));
  });
  after(async () => {
    for (const stage of stages.values()) await stage.clear();
    await plain?.remove();
  });

  const tryCase = ({ pod, settings }: GoldenCase) => {
    const stage = stages.get(JSON.stringify(settings));
    if (!stage) throw new Error('these settings have no policies');
    return stage.try(pod);
  };

  it('has at least 25 cases of both kinds', () => {
    const both = CASES.filter(({ modes }) => modes.includes('policy'));
    expect(both.filter(({ name }) => !name.startsWith('denied-'))).to.have.length.greaterThan(25);
    expect(both.filter(({ name }) => name.startsWith('denied-'))).to.have.length.greaterThan(25);
  });

  for (const golden of CASES) {
    const { name, modes, expected, apiServerRejects } = golden;
    if (apiServerRejects || !expected) continue;
    if (!modes.includes('policy')) {
      it(`${name}: is refused, because it needs the webhook`, async () => {
        const answer = await tryCase(golden);
        expect(findCode(answer)).to.equal('needs_webhook');
        expect(answer.body.message).to.match(/needs the webhook/);
      });
    } else if ('operations' in expected) {
      it(`${name}: comes out as from the webhook`, async () => {
        const byHand = applyOperations(golden.pod, expected.operations);
        checkSame(await tryCase(golden), await tryPlain(cluster, plain, byHand));
      });
    } else {
      it(`${name}: is refused as by the webhook`, async () => {
        const answer = await tryCase(golden);
        checkRefusal(String(answer.body.message), findCode(answer), expected.denials);
      });
    }
  }

  /** A policy tells one reason, the webhook all of them. */
  function checkRefusal(
    message: string,
    code: string | undefined,
    denials: readonly Denial[],
  ): void {
    const same = denials.find((denial) => denial.code === code);
    expect(same, message).to.not.equal(undefined);
    expect(message).to.match(/allowed:/);
    if (same?.annotation) expect(message).to.include(same.annotation);
    expect(message.length).to.be.lessThan(1500);
  }
});
