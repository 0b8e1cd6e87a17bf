// `helm install` and nothing else; then everything that happens to an installation: rotations, upgrades, outages, its end.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { readToken } from '../harness/node/app.ts';
import { isReady, type NodeCluster, openNodeCluster, type Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { type InstallStage, listAuthorities, rotateAndWait, setStage } from './stage.ts';
import { startTraffic, type Traffic } from './traffic.ts';

const CA_BUNDLE = '/webhooks/0/clientConfig/caBundle';

describe('an installation by helm alone', function () {
  this.timeout(240_000);
  let cluster: NodeCluster;
  let stage: InstallStage;
  /** The authority that was there first. */
  let first: string | undefined;
  let firstPem = '';

  before(async () => {
    cluster = openNodeCluster();
    stage = await setStage(cluster);
    const from = performance.now();
    await stage.helm('install');
    await stage.waitForRollout();
    console.log(`        ready after ${((performance.now() - from) / 1000).toFixed(1)} s`);
    await waitFor(async () => (await stage.tryPod()) === 'injected', {
      what: 'the API server to ask the webhook',
    });
  });
  after(async () => {
    if (!stage) return;
    await stage.keepLogs().catch(() => undefined);
    await stage.uninstall();
    await cluster.kubectl(['delete', 'pods', '--all', '-n', stage.pods.name, '--wait=false']);
    await cluster.kubectl(['delete', 'crd', 'tokenroles.auth.example.io']);
  });

  const toName = (pod: string) => ({ namespace: stage.pods.name, pod });
  const getReady = async (pod: string) => cluster.waitForPod(toName(pod), isReady, 120_000);
  const createInjected = async (pod: string, audience = 'payments') => {
    await cluster.apply(stage.toPod(pod, { audience }));
    await getReady(pod);
    return readToken(cluster, toName(pod));
  };

  /** As somebody else. */
  const patchRegistration = (operation: object) =>
    stage.kubectl(
      ...['patch', 'mutatingwebhookconfiguration', `${stage.release}-webhook`, '--type=json'],
      ...['--field-manager', 'somebody', '-p', JSON.stringify([operation])],
    );

  it('gives an annotated pod in another namespace its token', async () => {
    const { token, ca } = await createInjected('first');
    const claims = await (await stage.openBroker()).verify(token, 'payments');
    expect(claims.sub).to.equal(`k8s:main:${stage.pods.name}:default`);
    const bundle = (await stage.readSecret())['ca.crt'];
    expect(listAuthorities(ca)).to.eql(listAuthorities(bundle)).and.have.length(1);
    [first] = listAuthorities(bundle);
    firstPem = bundle ?? '';
  });

  it('passes `helm test`', async () => {
    await stage.helmTest();
  });

  it('has no difference to what helm renders, after the controller wrote', async () => {
    const objects = await stage.render();
    expect(objects.length).to.be.greaterThan(20);
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    const { code, stdout, stderr } = await cluster.kubectl(
      ['diff', '--server-side', '--field-manager=gitops', '--force-conflicts', '-f', '-'],
      list,
    );
    keep('diff.txt', stdout);
    expect(stdout, stderr).to.equal('');
    expect(code, stderr).to.equal(0);
    // The near miss: another number of replicas is a difference.
    const changed = JSON.parse(
      JSON.stringify(list).replace('"replicas":2', '"replicas":3'),
    ) as object;
    const other = await cluster.kubectl(
      ['diff', '--server-side', '--field-manager=gitops', '--force-conflicts', '-f', '-'],
      changed,
    );
    expect(other.code).to.equal(1);
  });

  it('puts its bundle back where somebody took it away', async () => {
    const isInjected = async () => (await stage.tryPod()) === 'injected';
    await patchRegistration({ op: 'remove', path: CA_BUNDLE });
    await waitFor(isInjected, { what: 'the bundle to be back', everyMs: 500 });
  });

  describe('while pods are made all the time', () => {
    let traffic: Traffic;
    before(async () => {
      await cluster.apply(
        stage.toPod('sleeper', { audience: 'slow' }),
        // Admitted with the first authority alone; started when that is history.
        stage.toPod('gated', {
          audience: 'payments',
          mode: 'init',
          spec: { schedulingGates: [{ name: 'example.com/later' }] },
        }),
      );
      await getReady('sleeper');
      traffic = startTraffic(stage);
    });
    after(() => traffic.stop());

    it('changes its authority twice, and is upgraded', async () => {
      const before = await readToken(cluster, toName('sleeper'));
      await rotateAndWait(stage);
      await rotateAndWait(stage);
      const again = await readToken(cluster, toName('sleeper'));
      // It has slept through both: its token is the first one.
      expect(again.token).to.equal(before.token);
      expect(listAuthorities(again.ca)).to.eql([first]);
      await stage.helm('upgrade', { logLevel: 'debug' });
      await stage.waitForRollout();
      expect((await stage.readSecret())['ca-former.json']).to.include('"cross"');
    });

    it('renews in a pod that slept through two rotations', async () => {
      const { token: before } = await readToken(cluster, toName('sleeper'));
      let after = before;
      await waitFor(
        async () => {
          after = (await readToken(cluster, toName('sleeper'))).token;
          return after !== before;
        },
        { what: 'a renewal', withinMs: 120_000, everyMs: 1000 },
      );
      await (await stage.openBroker()).verify(after, 'slow');
      const { ca } = await readToken(cluster, toName('sleeper'));
      const current = listAuthorities((await stage.readSecret())['ca-current.crt']);
      expect(listAuthorities(ca)).to.include.members([...current]);
    });

    it('gives a token to a pod that was admitted before and started after its authority had gone', async () => {
      const isGone = async () => {
        const bundle = (await stage.readSecret())['ca.crt'];
        return !listAuthorities(bundle).includes(first ?? '');
      };
      await waitFor(isGone, {
        what: 'the first authority to be history',
        withinMs: 150_000,
        everyMs: 1000,
      });
      const gates = JSON.stringify({ spec: { schedulingGates: null } });
      await stage.kubectl('-n', stage.pods.name, 'patch', 'pod', 'gated', '-p', gates);
      await getReady('gated');
      const { token } = await readToken(cluster, toName('gated'));
      await (await stage.openBroker()).verify(token, 'payments');
      const { spec } = await cluster.getPod(toName('gated'));
      const injected = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(
        JSON.stringify(spec).replaceAll('\\n', '\n'),
      );
      expect(listAuthorities(injected?.[0])).to.eql([first]);
    });

    it('refused none of them, and missed none', async () => {
      await traffic.stop();
      const { asked, refused, missed, started, failed } = traffic.count();
      console.log(`        ${asked} pods admitted, ${started} of them started`);
      expect(refused).to.eql([]);
      expect(missed).to.equal(0);
      expect(failed).to.eql([]);
      expect(asked).to.be.greaterThan(100);
      expect(started).to.be.greaterThan(10);
    });
  });

  describe('when things go', () => {
    it('is believed by an API server that knows the first authority alone, and leaves that to whoever wrote it', async () => {
      const caBundle = Buffer.from(firstPem).toString('base64');
      await patchRegistration({ op: 'replace', path: CA_BUNDLE, value: caBundle });
      const says = async () => {
        const args = ['logs', '-l', 'app.kubernetes.io/component=controller', '--tail=-1'];
        return (await stage.kubectl(...args)).includes('"owners":["somebody"]');
      };
      await waitFor(says, { what: 'the owner to be told', everyMs: 1000 });
      expect(await stage.tryPod()).to.equal('injected');
      const name = `${stage.release}-webhook`;
      const read = [
        'get',
        'mutatingwebhookconfiguration',
        name,
        '-o',
        `jsonpath={.webhooks[0].clientConfig.caBundle}`,
      ];
      expect(await stage.kubectl(...read)).to.equal(caBundle);
      await patchRegistration({ op: 'remove', path: CA_BUNDLE });
      const isOurs = async () => {
        const bundle = Buffer.from((await stage.readSecret())['ca.crt'] ?? '').toString('base64');
        return (await stage.kubectl(...read)) === bundle;
      };
      await waitFor(isOurs, { what: 'the bundle to be ours again', withinMs: 60_000 });
    });

    it('holds back annotated pods alone while there is no webhook, and comes back where all its pods went at once', async () => {
      await stage.keepLogs();
      await stage.kubectl('scale', `deployment/${stage.release}-webhook`, '--replicas=0');
      await waitFor(async () => (await stage.tryPod()).startsWith('500'), {
        what: 'annotated pods to be refused',
        withinMs: 60_000,
      });
      expect(await stage.tryPod({})).to.equal('plain');
      const selector = `app.kubernetes.io/instance=${stage.release}`;
      await stage.kubectl('delete', 'pods', '-l', selector, '--grace-period=0', '--force');
      await stage.waitForRollout(['broker', 'controller']);
      await stage.kubectl('scale', `deployment/${stage.release}-webhook`, '--replicas=2');
      await stage.waitForRollout();
      await waitFor(async () => (await stage.tryPod()) === 'injected', { what: 'the webhook' });
      await createInjected('after-all-went');
    });

    it('leaves nothing that holds back pods when it is uninstalled, and works when it is installed again', async () => {
      await stage.keepLogs();
      const before = (await stage.readSecret())['ca.crt'];
      await stage.uninstall();
      expect(await stage.tryPod()).to.equal('plain');
      const left = await stage.kubectl('get', 'mutatingwebhookconfigurations', '-o', 'name');
      expect(left).to.not.include(stage.release);
      await stage.helm('install');
      await stage.waitForRollout();
      await waitFor(async () => (await stage.tryPod()) === 'injected', {
        what: 'the API server to ask the webhook',
      });
      const { ca } = await createInjected('again');
      // The Secret has stayed: whoever knew the authority before still does.
      expect(listAuthorities(ca)).to.include.members([...listAuthorities(before).slice(0, 1)]);
      const pod: Pod = await cluster.getPod(toName('again'));
      expect(JSON.stringify(pod.spec)).to.include('coatcheck-exchange');
    });
  });
});
