// Step 1: `hybrid`. The broker's own checks first, the API server's word last; the death of a pod is noticed by it.
import { expect } from 'chai';
import { waitFor } from '../harness/process.ts';
import { type ReviewStage, setReviewStage } from './stage.ts';

const CACHE_SECONDS = 2;
/** The API server remembers a good answer for ten. */
const API_SERVER_CACHE_SECONDS = 10;

describe('step 1: a broker with hybrid validation', function () {
  this.timeout(60_000);
  let stage: ReviewStage;
  before(async () => {
    stage = await setReviewStage((review) => ({
      validation: 'hybrid',
      review,
      positiveCacheSeconds: CACHE_SECONDS,
    }));
  });
  after(() => stage?.clear());

  const REVIEWS = 'token_reviews_total';
  const REFUSED = { status: 400, reason: 'token_refused' };

  it('without the right to create reviews answers 503 and counts it, and heals with the right', async () => {
    const token = await stage.requestToken(await stage.createPod('early'));
    expect(await stage.exchange(token)).to.deep.equal({ status: 503, reason: 'unavailable' });
    expect(await stage.readMetric(REVIEWS, 'outcome="credential_refused"')).to.equal(1);
    await stage.grantReviews();
    const isServed = async () => (await stage.exchange(token)).status === 200;
    await waitFor(isServed, { what: 'the API server to know the new right' });
  });

  it('gives a living pod its token, and asks once for a token that comes twice', async () => {
    const token = await stage.requestToken(await stage.createPod('living'));
    const before = await stage.readMetric(REVIEWS);
    expect(await stage.exchange(token)).to.include({ status: 200 });
    expect(await stage.exchange(token)).to.include({ status: 200 });
    expect(await stage.readMetric(REVIEWS)).to.equal(before + 1);
    expect(await stage.readMetric('token_reviews_spared_total', 'by="cached"')).to.equal(1);
  });

  it('refuses tokens of a deleted pod: an unseen one at once, a cached one soon', async () => {
    const pod = await stage.createPod('short-lived');
    const [seen = '', ...unseen] = await stage.requestTokens(pod);
    expect(await stage.exchange(seen)).to.include({ status: 200 });
    await stage.deletePod(pod.name);
    expect(await stage.waitForRefusal(unseen)).to.deep.equal(REFUSED);
    const isRefused = async () => (await stage.exchange(seen)).status === 400;
    await waitFor(isRefused, {
      what: 'both caches to forget the pod',
      withinMs: (CACHE_SECONDS + API_SERVER_CACHE_SECONDS + 5) * 1000,
    });
    expect(await stage.exchange(seen)).to.deep.equal(REFUSED);
  });

  it('refuses the token of a pod that was made again under the same name', async () => {
    const tokens = await stage.requestTokens(await stage.createPod('again'));
    await stage.deletePod('again');
    const next = await stage.createPod('again');
    expect(await stage.waitForRefusal(tokens)).to.deep.equal(REFUSED);
    expect(await stage.exchange(await stage.requestToken(next))).to.include({ status: 200 });
  });

  it('asks nobody about a token for another audience, or a forged one', async () => {
    const pod = await stage.createPod('several');
    const before = await stage.readMetric(REVIEWS);
    const other = await stage.requestToken(pod, ['ledger']);
    expect(await stage.exchange(other)).to.deep.equal({ status: 400, reason: 'target_refused' });
    const token = await stage.requestToken(pod);
    const forged = `${token.slice(0, token.lastIndexOf('.'))}.${'A'.repeat(342)}`;
    expect(await stage.exchange(forged)).to.deep.equal({ status: 400, reason: 'token_signature' });
    expect(await stage.readMetric(REVIEWS)).to.equal(before);
    expect(await stage.exchange(token)).to.include({ status: 200 });
  });

  it('asks with the credential that is on the disk now', async () => {
    const pod = await stage.createPod('rotation');
    stage.broker.writeCredential('rotated-away');
    expect(await stage.exchange(await stage.requestToken(pod))).to.deep.equal({
      status: 503,
      reason: 'unavailable',
    });
    stage.broker.writeCredential(await stage.broker.requestCredential());
    expect(await stage.exchange(await stage.requestToken(pod))).to.include({ status: 200 });
  });

  it('refuses the token of a ServiceAccount that was made again', async () => {
    const tokens = await stage.requestTokens(await stage.createPod('orphan'));
    const path = `/api/v1/namespaces/${stage.namespace.name}/serviceaccounts`;
    await stage.cluster.request('DELETE', `${path}/checkout`);
    await stage.namespace.addServiceAccount('checkout');
    expect(await stage.waitForRefusal(tokens)).to.deep.equal(REFUSED);
    const next = await stage.createPod('heir');
    expect(await stage.exchange(await stage.requestToken(next))).to.include({ status: 200 });
  });
});
