// One annotation in the template of every kind of workload that keeps pods running.
import { expect } from 'chai';
import { readToken } from '../harness/node/app.ts';
import { isReady } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { AUDIENCE, type InjectStage } from './stage.ts';

export function describeWorkloads(getStage: () => InjectStage): void {
  describe('of workloads', () => {
    before(async () => {
      const stage = getStage();
      await stage.cluster.apply(...toWorkloads(stage), stage.toPod('pod'));
    });

    for (const [kind, count] of [
      ['Deployment', 2],
      ['StatefulSet', 2],
      ['DaemonSet', 1],
      ['Pod', 1],
    ] as const) {
      it(`gives every pod of a ${kind} a token of its own, that names the pod and its node`, async () => {
        const { cluster, toName, verifyToken } = getStage();
        const ids = new Set<unknown>();
        for (const pod of await waitForPods(getStage(), kind.toLowerCase(), count)) {
          await cluster.waitForPod(toName(pod), isReady, 120_000);
          const claims = await verifyToken(toName(pod));
          expect(claims).to.deep.include({ aud: 'payments', scope: 'payments:read' });
          ids.add(claims.jti);
        }
        expect(ids.size).to.equal(count);
      });
    }

    it('names all of it in variables, and repeats the token with its facts in token.json', async () => {
      const { cluster, installation, toName } = getStage();
      await cluster.waitForPod(toName('pod'), isReady);
      const seen = await readToken(cluster, toName('pod'));
      const root = '/var/run/secrets/auth.example.io';
      expect(seen).to.deep.include({
        tokenFile: `${root}/payments/token`,
        tokenDir: root,
        issuer: installation.issuer,
        caFile: `${root}/ca.crt`,
      });
      expect(seen.ca.trim()).to.equal(installation.ca.trim());
      const { exp = 0 } = await installation.verify(seen.token, 'payments');
      const { expires_at, ...rest } = seen.json;
      expect(rest).to.deep.equal({
        access_token: seen.token,
        token_type: 'Bearer',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        audience: 'payments',
        scope: 'payments:read',
      });
      // `exp` is in whole seconds; the exchange counts from before its request.
      expect(expires_at).to.match(/Z$/);
      const early = exp - Date.parse(String(expires_at)) / 1000;
      expect(early).to.be.within(-1, 15);
    });

    it('lets the broker tell the near miss: the same token is nobody else’s', async () => {
      const { cluster, installation, toName } = getStage();
      const { token } = await readToken(cluster, toName('pod'));
      const error = await installation.verify(token, 'ledger').catch((thrown: Error) => thrown);
      expect(error)
        .to.be.instanceOf(Error)
        .with.property('code', 'ERR_JWT_CLAIM_VALIDATION_FAILED');
    });

    it('asks the webhook about annotated pods and no others', async () => {
      const { cluster, installation, toPod, toName } = getStage();
      const before = await installation.webhookRequests();
      await cluster.apply(
        toPod('plain', { annotations: {} }),
        toPod('other', { annotations: { 'example.com/audience': 'payments' } }),
        toPod('copied', { annotations: { 'auth.example.io/status': 'whatever' } }),
      );
      for (const name of ['plain', 'other', 'copied']) {
        const pod = await cluster.waitForPod(toName(name), isReady);
        expect(pod.spec).to.not.have.property('initContainers');
      }
      expect(await installation.webhookRequests()).to.equal(before);
      await cluster.apply(toPod('counted'));
      // Once, and once more where another plugin changed the pod after us (reinvocation).
      expect(await installation.webhookRequests()).to.be.within(before + 1, before + 2);
    });

    it('leaves a Deployment without annotations beside it alone', async () => {
      const stage = getStage();
      const plain = toDeployment(stage, 'plain-deployment', {});
      await stage.cluster.apply(plain);
      const [pod = ''] = await waitForPods(stage, 'plain-deployment', 2);
      const { spec } = await stage.cluster.waitForPod(stage.toName(pod), isReady);
      expect(JSON.stringify(spec)).to.not.include('coatcheck-');
    });
  });
}

async function waitForPods(stage: InjectStage, app: string, count: number): Promise<string[]> {
  let pods: string[] = [];
  const isThere = async () => {
    pods = await stage.listPods(app);
    return pods.length === count;
  };
  await waitFor(isThere, { what: `${count} pods of ${app}`, withinMs: 60_000 });
  return pods;
}

function toDeployment(
  { namespace, toTemplate }: InjectStage,
  name: string,
  annotations: Readonly<Record<string, string>> = AUDIENCE,
): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: namespace.name },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: name } },
      template: toTemplate(name, { annotations }),
    },
  };
}

function toWorkloads(stage: InjectStage): object[] {
  const { namespace, toTemplate } = stage;
  const toWorkload = (kind: string, rest: object) => {
    const name = kind.toLowerCase();
    const spec = { selector: { matchLabels: { app: name } }, template: toTemplate(name), ...rest };
    return { apiVersion: 'apps/v1', kind, metadata: { name, namespace: namespace.name }, spec };
  };
  return [
    toDeployment(stage, 'deployment'),
    toWorkload('StatefulSet', {
      serviceName: 'x',
      replicas: 2,
      podManagementPolicy: 'Parallel',
    }),
    toWorkload('DaemonSet', {}),
  ];
}
