// Step 2: `review` without keys. The broker can check nothing itself; the API server's word is all, and enough.
import { expect } from 'chai';
import { waitFor } from '../harness/process.ts';
import { type ReviewStage, setReviewStage } from './stage.ts';

describe('step 2: a broker with review and no keys', function () {
  this.timeout(60_000);
  let stage: ReviewStage;
  before(async () => {
    stage = await setReviewStage((review) => ({
      validation: 'review',
      keys: undefined,
      review,
      positiveCacheSeconds: 0,
    }));
    await stage.grantReviews();
  });
  after(() => stage?.clear());

  it('gives a living pod its token, and refuses that of a deleted one', async () => {
    const pod = await stage.createPod('living');
    const [token = '', ...later] = await stage.requestTokens(pod);
    const isServed = async () => (await stage.exchange(token)).status === 200;
    await waitFor(isServed, { what: 'the API server to know the new right' });
    await stage.deletePod(pod.name);
    expect(await stage.waitForRefusal(later)).to.deep.equal({
      status: 400,
      reason: 'token_refused',
    });
  });

  it('refuses a forged token, whatever it says', async () => {
    const pod = await stage.createPod('forged');
    const token = await stage.requestToken(pod);
    const signed = token.slice(0, token.lastIndexOf('.'));
    expect(await stage.exchange(`${signed}.${'A'.repeat(342)}`)).to.deep.equal({
      status: 400,
      reason: 'token_refused',
    });
    expect(await stage.exchange(token)).to.include({ status: 200 });
  });

  it('asks nobody about a token for another audience', async () => {
    const pod = await stage.createPod('several');
    const before = await stage.readMetric('token_reviews_total');
    expect(await stage.exchange(await stage.requestToken(pod, ['ledger']))).to.deep.equal({
      status: 400,
      reason: 'target_refused',
    });
    expect(await stage.readMetric('token_reviews_total')).to.equal(before);
    expect(await stage.exchange(await stage.requestToken(pod))).to.include({ status: 200 });
  });
});
