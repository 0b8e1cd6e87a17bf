// Step 2: the API server signs ServiceAccount tokens with a new key from one moment to the next.
import { generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { noteToken } from '../../support/tokens.ts';
import { readToken } from '../harness/node/app.ts';
import { getContainerStatus, isReady } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { ACCOUNT, type RefreshStage, setRefreshStage } from './stage.ts';

describe('refresh on a node, step 2: a new key of the API server', function () {
  this.timeout(300_000);
  let stage: RefreshStage;
  let oldSubjectToken: string;
  let oldClientToken: string;
  before(async () => {
    stage = await setRefreshStage('rotation');
    const { cluster, toPod, toName } = stage;
    await cluster.apply(
      toPod('before', { audience: 'payments' }),
      toPod('before-brief', { audience: 'brief' }),
    );
    for (const pod of ['before', 'before-brief'])
      await cluster.waitForPod(toName(pod), isReady, 120_000);
    oldSubjectToken = await request('before');
    oldClientToken = (await readToken(cluster, toName('before'))).token;
    await cluster.rotateSigningKey();
  });
  after(async () => stage?.clear());

  /** A ServiceAccount token of a pod, as the kubelet would ask for it. */
  const request = async (name: string) => {
    const { cluster, namespace, toName } = stage;
    const { uid } = (await cluster.getPod(toName(name))).metadata;
    const pod = { name, uid };
    const asked = { namespace: namespace.name, serviceAccount: ACCOUNT, pod };
    return noteToken(await requestToken(cluster, { ...asked, audiences: ['payments'] }));
  };
  const exchange = async (token: string) => {
    const { status, body } = await stage.installation.ask('/oauth2/token', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      audience: 'payments',
    });
    if (status === 200) noteToken(String(body.access_token));
    return { status, reason: body.reason };
  };

  it('signs with it', async () => {
    const kid = decodeProtectedHeader(await request('before')).kid;
    expect(kid).to.be.a('string').and.not.equal(decodeProtectedHeader(oldSubjectToken).kid);
  });

  it('starts new pods at once', async () => {
    const { cluster, installation, toPod, toName } = stage;
    await cluster.apply(toPod('after', { audience: 'payments' }));
    const pod = await cluster.waitForPod(toName('after'), isReady, 120_000);
    const { token } = await readToken(cluster, toName('after'));
    const claims = await installation.verify(token, 'payments');
    expect(claims['kubernetes.io']).to.have.deep.property('pod', {
      name: 'after',
      uid: pod.metadata.uid,
    });
    expect(getContainerStatus(pod, 'coatcheck-exchange').restartCount).to.equal(0);
  });

  it('leaves tokens from before what they are, until they expire', async () => {
    const { exp = 0 } = decodeJwt(oldSubjectToken);
    expect(exp).to.be.greaterThan(Date.now() / 1000);
    await waitFor(async () => (await exchange(oldSubjectToken)).status === 200, {
      what: 'the old token to be taken',
    });
    const { jti } = await stage.installation.verify(oldClientToken, 'payments');
    expect(jti).to.equal(decodeJwt(oldClientToken).jti);
  });

  it('renews in pods from before', async () => {
    const { cluster, installation, toName } = stage;
    const read = async () => {
      const { token } = await readToken(cluster, toName('before-brief'));
      return installation.verify(token, 'brief').catch(() => undefined);
    };
    const first = await read();
    const isRenewed = async () => {
      const next = await read();
      return next !== undefined && next.jti !== first?.jti;
    };
    await waitFor(isRenewed, { what: 'a renewal', withinMs: 120_000, everyMs: 1000 });
    const pod = await cluster.getPod(toName('before-brief'));
    expect(getContainerStatus(pod, 'coatcheck-exchange').restartCount).to.equal(0);
  });

  it('refuses what a key signed that the API server never had', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { alg = '', kid = '' } = decodeProtectedHeader(oldSubjectToken);
    const forged = noteToken(
      await new SignJWT(decodeJwt(oldSubjectToken))
        .setProtectedHeader({ alg, kid })
        .sign(privateKey),
    );
    expect(await exchange(forged)).to.deep.equal({ status: 400, reason: 'token_signature' });
  });
});
