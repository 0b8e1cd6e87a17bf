// Step 5, the main job: a ServiceAccount token that this API server minted for a pod it injected goes through the real
// exchange program to the real broker, and ends as a client token in the file that the app is told about.
import { expect } from 'chai';
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { noteToken } from '../../support/tokens.ts';
import { waitFor } from '../harness/process.ts';
import { type FirstTokenStage, setFirstTokenStage, toRole } from './first-token-stage.ts';
import { ARTEFACTS } from './kubelet.ts';
import type { StoredPod } from './stored-pod.ts';

const DECISIONS = 'coatcheck_broker_decisions_total';

describe('step 5: annotation in, client token in a file', function () {
  this.timeout(60_000);
  let stage: FirstTokenStage;
  before(async () => {
    stage = await setFirstTokenStage([
      toRole('payments-checkout', 'payments', 'checkout'),
      toRole('ledger-checkout', 'ledger', 'checkout'),
    ]);
  });
  after(() => stage?.clear());

  /** As a receiver does it: discovery, keys, signature, issuer, audience. */
  async function verify(token: string, audience: string): Promise<JWTPayload> {
    const { body: metadata } = await stage.broker.send('/.well-known/openid-configuration');
    expect(metadata.issuer).to.equal(stage.broker.url);
    const { pathname, origin } = new URL(String(metadata.jwks_uri));
    expect(origin).to.equal(stage.broker.url);
    const { body: keys } = await stage.broker.send(pathname);
    const { payload } = await jwtVerify(
      token,
      createLocalJWKSet(keys as unknown as JSONWebKeySet),
      {
        issuer: stage.broker.url,
        audience,
      },
    );
    return payload;
  }

  async function findServiceAccountUid(name: string): Promise<string> {
    const { body } = await stage.cluster.request(
      'GET',
      `/api/v1/namespaces/${stage.namespace.name}/serviceaccounts/${name}`,
    );
    return (body.metadata as { uid: string }).uid;
  }

  const app = (pod: StoredPod) => pod.containers.app?.env ?? {};

  for (const artefact of ARTEFACTS) {
    it(`${artefact.name} writes the tokens that the pod asked for, each verifiable and naming the pod`, async () => {
      const pod = await stage.createPod({
        serviceAccount: 'checkout',
        annotations: { audience: 'payments,ledger', mode: 'init' },
      });
      const run = await stage.startExchange(pod, artefact);
      const { code, output, terminationMessage } = await run.container.ended;
      expect(code, output).to.equal(0);
      expect(terminationMessage).to.equal('');
      const root = '/var/run/secrets/auth.example.io';
      expect(app(pod)).to.include({
        AUTH_TOKEN_FILE: `${root}/payments/token`,
        AUTH_TOKEN_DIR: root,
        AUTH_ISSUER: stage.broker.url,
        AUTH_CA_FILE: `${root}/ca.crt`,
      });
      expect(run.findFile(`${root}/ca.crt`)).to.contain('BEGIN CERTIFICATE');
      for (const audience of ['payments', 'ledger']) {
        const token = noteToken(run.findFile(`${root}/${audience}/token`) ?? '');
        const claims = await verify(token, audience);
        expect(claims).to.deep.include({
          sub: `k8s:under-test:${stage.namespace.name}:checkout`,
          cluster: 'under-test',
          scope: `${audience}:read`,
          'kubernetes.io': {
            namespace: stage.namespace.name,
            serviceaccount: { name: 'checkout', uid: await findServiceAccountUid('checkout') },
            pod: { name: pod.name, uid: pod.uid },
          },
        });
        const json = JSON.parse(run.findFile(`${root}/${audience}/token.json`) ?? '{}') as Record<
          string,
          unknown
        >;
        expect(json).to.include({ access_token: token, token_type: 'Bearer', audience });
        expect(Date.parse(String(json.expires_at)) / 1000).to.be.closeTo(Number(claims.exp), 2);
        await verify(token, audience === 'payments' ? 'ledger' : 'payments').then(
          () => expect.fail('verified for another audience'),
          (error: unknown) =>
            expect(error).to.have.property('code', 'ERR_JWT_CLAIM_VALIDATION_FAILED'),
        );
      }
    });

    it(`${artefact.name} stays as a sidecar, passes its startup probe once the token is there, and ends on SIGTERM`, async () => {
      const pod = await stage.createPod({
        serviceAccount: 'checkout',
        annotations: { audience: 'payments' },
      });
      expect(pod.initContainers['coatcheck-exchange']?.restartPolicy).to.equal('Always');
      const run = await stage.startExchange(pod, artefact);
      const file = app(pod).AUTH_TOKEN_FILE ?? '';
      await waitFor(async () => run.findFile(file) !== undefined, { what: 'the token file' });
      await verify(noteToken(run.findFile(file) ?? ''), 'payments');
      expect(await run.probe()).to.equal(0);
      run.container.terminate();
      expect((await run.container.ended).code).to.equal(0);
    });

    it(`${artefact.name} says in the termination message why a ServiceAccount without a role gets nothing`, async () => {
      const pod = await stage.createPod({
        serviceAccount: 'stranger',
        annotations: { audience: 'payments', mode: 'init', deadline: '2' },
      });
      const run = await stage.startExchange(pod, artefact);
      expect(await run.probe()).to.not.equal(0);
      const { code, terminationMessage } = await run.container.ended;
      expect(code).to.equal(1);
      expect(terminationMessage)
        .to.contain('no_role')
        .and.to.contain('payments')
        .and.to.contain('stranger');
      expect(run.findFile(app(pod).AUTH_TOKEN_FILE ?? '')).to.equal(undefined);
    });
  }

  it('heals without a new pod when the role is applied a moment later', async () => {
    const pod = await stage.createPod({
      serviceAccount: 'latecomer',
      annotations: { audience: 'payments', mode: 'init', deadline: '40' },
    });
    const before = await stage.broker.process.readCounter(DECISIONS);
    const run = await stage.startExchange(pod, ARTEFACTS[0]);
    const isRefused = async () => (await stage.broker.process.readCounter(DECISIONS)) > before;
    await waitFor(isRefused, { what: 'the first refusal' });
    stage.broker.writeRoles('latecomer', [toRole('payments-latecomer', 'payments', 'latecomer')]);
    const { code, output } = await run.container.ended;
    expect(code, output).to.equal(0);
    await verify(noteToken(run.findFile(app(pod).AUTH_TOKEN_FILE ?? '') ?? ''), 'payments');
  });

  for (const { name, audiences, reason } of [
    { name: 'another audience', audiences: ['ledger'], reason: 'target_refused' },
    { name: "the API server's own audience", audiences: undefined, reason: 'target_refused' },
  ]) {
    it(`ends at once, with the reason, where the token in the volume is for ${name}`, async () => {
      const pod = await stage.createPod({
        serviceAccount: 'checkout',
        annotations: { audience: 'payments', mode: 'init' },
      });
      const run = await stage.startExchange(pod, ARTEFACTS[0], () =>
        stage.requestToken(pod, audiences),
      );
      const { code, terminationMessage } = await run.container.ended;
      expect(code).to.equal(1);
      expect(terminationMessage).to.contain(reason);
      expect(run.findFile(app(pod).AUTH_TOKEN_FILE ?? '')).to.equal(undefined);
    });
  }
});
