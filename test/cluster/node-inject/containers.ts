// Inside of a pod: who sees which audience, what the files are, and what a container finds that was killed.
import { expect } from 'chai';
import { readToken } from '../harness/node/app.ts';
import { getContainerStatus, isReady } from '../harness/node/suite.ts';
import { AUDIENCE, type InjectStage } from './stage.ts';

const ROOT = '/var/run/secrets/auth.example.io';
const LEDGER = 'https://ledger.example.io';

export function describeContainers(getStage: () => InjectStage): void {
  describe('of containers', () => {
    before(async () => {
      const { cluster, toApp, toPod } = getStage();
      await cluster.apply(
        toPod('two', {
          annotations: {
            ...AUDIENCE,
            'auth.example.io/audience.ledger': LEDGER,
            'auth.example.io/containers': 'app,both',
            'auth.example.io/containers.ledger': 'worker,both',
          },
          spec: {
            containers: ['app', 'worker', 'both', 'neither'].map((name) => toApp({ name })),
          },
        }),
        toPod('init', { annotations: { ...AUDIENCE, 'auth.example.io/mode': 'init' } }),
        toPod('restarted'),
      );
    });

    it('shows each container the audiences meant for it, by its own variables', async () => {
      const { cluster, toName, verifyToken } = getStage();
      await cluster.waitForPod(toName('two'), isReady, 120_000);
      for (const [container, audience, file] of [
        ['app', 'payments', `${ROOT}/payments/token`],
        ['worker', LEDGER, `${ROOT}/ledger/token`],
        ['both', 'payments', `${ROOT}/payments/token`],
      ] as const) {
        const claims = await verifyToken(toName('two', container), audience);
        expect(claims.aud, container).to.equal(audience);
        const { tokenFile } = await readToken(cluster, toName('two', container));
        expect(tokenFile).to.equal(file);
      }
    });

    it('keeps every other audience out of a container’s sight', async () => {
      const list = async (container: string) => {
        const { cluster, toName } = getStage();
        const { stdout } = await cluster.exec(toName('two', container), 'ls', ROOT);
        return stdout.split('\n').filter((line) => line !== '');
      };
      expect(await list('app')).to.deep.equal(['payments']);
      expect(await list('worker')).to.deep.equal(['ledger']);
      expect(await list('both')).to.deep.equal(['ca.crt', 'ledger', 'payments']);
      expect(await list('neither')).to.deep.equal([]);
    });

    it('sets no variable of ours in a container without a token', async () => {
      const { cluster, toName } = getStage();
      const { stdout } = await cluster.exec(toName('two', 'neither'), 'env');
      expect(stdout).to.not.include('AUTH_');
    });

    for (const pod of ['two', 'init']) {
      it(`makes files that everyone in the container can read and nobody can write (pod ${pod})`, async () => {
        const { cluster, toName } = getStage();
        const name = toName(pod, pod === 'two' ? 'both' : 'app');
        await cluster.waitForPod(name, isReady, 120_000);
        const paths = ['payments', 'payments/token', 'payments/token.json', 'ca.crt'];
        // -L: what one gets who follows the links.
        const args = ['stat', '-Lc', '%a %u', ...paths.map((path) => `${ROOT}/${path}`)];
        const { stdout, stderr } = await cluster.exec(name, ...args);
        // The exchange runs as the one uid that all containers of the pod have.
        expect(stdout, stderr).to.equal('755 1000\n644 1000\n644 1000\n644 1000\n');
        for (const path of [`${ROOT}/payments/token`, `${ROOT}/new`, `${ROOT}/payments/..data/x`]) {
          const written = await cluster.exec(name, 'sh', '-c', `echo x > ${path}`);
          expect(written.code, path).to.equal(1);
          expect(written.stderr).to.include('Read-only file system');
        }
      });
    }

    it('keeps the ServiceAccount token with the audience out of the app', async () => {
      const { cluster, toName } = getStage();
      const { stdout } = await cluster.exec(toName('two', 'both'), 'cat', '/proc/mounts');
      expect(stdout).to.include(`${ROOT} `);
      expect(stdout).to.not.include('coatcheck-identity');
    });

    it('has a live token for an app container that starts again', async () => {
      const { cluster, toName, verifyToken } = getStage();
      await cluster.waitForPod(toName('restarted'), isReady, 120_000);
      const first = await verifyToken(toName('restarted'));
      await cluster.exec(toName('restarted'), 'kill', '-TERM', '1');
      await cluster.waitForPod(
        toName('restarted'),
        (pod) => isReady(pod) && getContainerStatus(pod, 'app').restartCount > 0,
        120_000,
      );
      const again = await verifyToken(toName('restarted'));
      expect(again.jti).to.equal(first.jti);
      expect((again.exp ?? 0) * 1000).to.be.greaterThan(Date.now());
    });
  });
}
