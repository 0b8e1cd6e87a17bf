// Step 4: every golden pod against the real API server. Accepted uninjected means accepted injected, and what comes back
// equals the input as the server defaults it plus exactly our additions, defaulted by the same server.
import { expect } from 'chai';
import fastJsonPatch from 'fast-json-patch';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { type GoldenCase, loadGoldenCases } from '../../webhook/golden.ts';
import { withDerived } from './derived.ts';
import { type GoldenStage, setGoldenStage } from './golden-stage.ts';
import { toComparable, toSorted, withoutOurs } from './pod-difference.ts';
import { isInjected } from './stage.ts';

const CASES = loadGoldenCases();

describe('step 4: golden pods on a real API server', function () {
  this.timeout(60_000);
  let stage: GoldenStage;
  before(async () => {
    stage = await setGoldenStage(CASES);
  });
  after(() => stage?.clear());

  it('has the cases', () => {
    expect(CASES).to.have.length.greaterThan(44);
  });

  for (const golden of CASES) {
    const { name, pod, expected } = golden;
    if (golden.apiServerRejects) {
      it(`${name}: the pod is invalid with and without us`, async () => {
        expect((await stage.tryPlain(pod)).status).to.be.within(400, 422);
        expect((await stage.tryInjected(golden)).status).to.be.within(400, 422);
      });
    } else if (expected && 'operations' in expected) {
      it(`${name}: comes back as it was, plus our additions`, () =>
        checkAdmitted(golden, expected));
    } else {
      it(`${name}: is refused by us, and was accepted without us`, async () => {
        expect((await stage.tryPlain(pod)).status).to.equal(201);
        const { status, body } = await stage.tryInjected(golden);
        expect(status).to.be.within(400, 422);
        for (const { message } of expected?.denials ?? []) expect(body.message).to.contain(message);
      });
    }
  }

  type Admitted = Extract<GoldenCase['expected'], { operations: unknown }>;

  async function checkAdmitted(golden: GoldenCase, expected: Admitted): Promise<void> {
    const uninjected = await stage.tryPlain(golden.pod);
    expect(uninjected.status, String(uninjected.body.message)).to.equal(201);
    const injected = await stage.tryInjected(golden);
    expect(injected.status, String(injected.body.message)).to.equal(201);
    expect(injected.warnings.filter(isWarningOfOurs)).to.deep.equal(
      expected.warnings.map((one) => `coatcheck: ${one}`),
    );

    // Sent by hand with the golden patch applied: the same additions, defaulted by the same server.
    const byHand = await stage.tryPlain(applyOperations(golden.pod, expected));
    expect(byHand.status, String(byHand.body.message)).to.equal(201);
    expect(toSorted(toComparable(injected.body))).to.deep.equal(
      toSorted(toComparable(byHand.body)),
    );

    // And nothing else has changed, not even an order.
    const { prefix, podAnnotations } = golden.settings;
    const theirs = (body: JsonObject) =>
      withoutOurs(toComparable(body), prefix, Object.keys(podAnnotations));
    const before = theirs(uninjected.body);
    const isOurs = isInjected(injected.body);
    expect(theirs(injected.body)).to.deep.equal(
      isOurs ? withDerived(before, injected.body) : before,
    );
  }
});

function applyOperations(
  pod: JsonObject,
  { operations }: { operations: readonly object[] },
): JsonObject {
  const copy = structuredClone(pod);
  return fastJsonPatch.applyPatch(copy, operations as fastJsonPatch.Operation[]).newDocument;
}

/** The API server adds warnings of its own, for unknown fields and for things it deprecates. */
function isWarningOfOurs(warning: string): boolean {
  return warning.startsWith('coatcheck: ');
}
