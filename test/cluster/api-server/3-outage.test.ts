// Step 3: a webhook that is down holds back annotated pods and nothing else, and is forgiven when it is back.
import { expect } from 'chai';
import { waitFor } from '../harness/process.ts';
import { dryRun, isInjected, type Stage, setStage, toPod } from './stage.ts';

const ANNOTATED = { annotations: { 'auth.example.io/audience': 'payments' } };

describe('step 3: the webhook is down', function () {
  this.timeout(60_000);
  let stage: Stage;
  before(async () => {
    stage = await setStage('outage');
    await stage.webhook.stop();
  });
  after(() => stage?.clear());

  const create = (pod: object) =>
    stage.cluster.kubectl([`--namespace=${stage.namespace.name}`, 'create', '-f', '-'], pod);

  it('refuses an annotated pod, and says which webhook failed', async () => {
    const { code, stderr } = await create(toPod('annotated', ANNOTATED));
    expect(code).to.not.equal(0);
    expect(stderr).to.contain('failed calling webhook').and.to.contain('coatcheck.example.io');
  });

  it('creates an unannotated pod', async () => {
    const { code, stderr } = await create(toPod('unannotated'));
    expect(code, stderr).to.equal(0);
  });

  it('injects the annotated pod as soon as it is back', async () => {
    await stage.webhook.restart();
    const tryAgain = async () =>
      isInjected(
        (await dryRun(stage.cluster, stage.namespace.name, toPod('annotated', ANNOTATED))).body,
      );
    await waitFor(tryAgain, { what: 'the API server to reach the webhook again' });
    const { code, stderr } = await create(toPod('annotated', ANNOTATED));
    expect(code, stderr).to.equal(0);
  });
});
