// Pods that end. A Job is over when its containers are: a sidecar that stayed would keep it running for ever.
import { expect } from 'chai';
import { getContainerStatus, type Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { AUDIENCE, type InjectStage } from './stage.ts';

const REFRESH = { ...AUDIENCE, 'auth.example.io/mode': 'refresh' };

export function describeJobs(getStage: () => InjectStage): void {
  describe('of Jobs', () => {
    before(async () => {
      const stage = getStage();
      await stage.cluster.apply(
        toJob(stage, 'job', AUDIENCE),
        toJob(stage, 'job-refresh', REFRESH),
        toCronJob(stage),
      );
    });

    for (const [job, mode] of [
      ['job', 'init'],
      ['job-refresh', 'refresh'],
    ] as const) {
      it(`gives a Job in ${mode} its token, and lets it complete`, async () => {
        const { cluster, namespace } = getStage();
        const pod = await endJob(getStage(), job);
        const path = `/apis/batch/v1/namespaces/${namespace.name}/jobs/${job}`;
        await waitForStatus(getStage(), path, ({ succeeded }) => succeeded === 1);
        const ended = await cluster.getPod(pod);
        expect(ended.status.phase).to.equal('Succeeded');
        expect(getContainerStatus(ended, 'app').state.terminated?.exitCode).to.equal(0);
        const names = (ended.status.initContainerStatuses ?? []).map(({ name }) => name);
        expect(names).to.deep.equal(
          mode === 'init'
            ? ['coatcheck-exchange']
            : ['coatcheck-exchange-init', 'coatcheck-exchange'],
        );
        for (const name of names) {
          const { restartCount, state } = getContainerStatus(ended, name);
          expect(restartCount, name).to.equal(0);
          expect(state.terminated?.exitCode, name).to.equal(0);
          await cluster.logs({ ...pod, container: name });
        }
      });
    }

    it('gives the Job that a CronJob makes its token, and lets it complete', async () => {
      const { cluster, namespace } = getStage();
      const { code, stderr } = await cluster.kubectl([
        'create',
        'job',
        'from-cron',
        '--from=cronjob/cron',
        '-n',
        namespace.name,
      ]);
      expect(code, stderr).to.equal(0);
      await endJob(getStage(), 'cron');
      const path = `/apis/batch/v1/namespaces/${namespace.name}/jobs/from-cron`;
      await waitForStatus(getStage(), path, ({ succeeded }) => succeeded === 1);
    });
  });
}

/** Waits for the Job's pod, looks at its token, and lets its app end. */
async function endJob(stage: InjectStage, app: string) {
  let pods: string[] = [];
  const isThere = async () => {
    pods = await stage.listPods(app);
    return pods.length > 0;
  };
  await waitFor(isThere, { what: `a pod of the Job ${app}` });
  const name = stage.toName(pods[0] ?? '');
  await stage.cluster.waitForPod(name, isAppRunning, 120_000);
  await stage.verifyToken(name);
  const { code, stderr } = await stage.cluster.exec(name, 'touch', '/work/end');
  expect(code, stderr).to.equal(0);
  return name;
}

function isAppRunning({ status }: Pod): boolean {
  return status.containerStatuses?.some(({ state }) => state.running) ?? false;
}

async function waitForStatus(
  { cluster }: InjectStage,
  path: string,
  is: (status: Readonly<Record<string, unknown>>) => boolean,
): Promise<void> {
  const isSo = async () =>
    is(((await cluster.request('GET', path)).body.status ?? {}) as Record<string, unknown>);
  await waitFor(isSo, { what: `${path} to complete`, withinMs: 60_000 });
}

/** The app waits until it is told to end, that its token can be looked at; then it fails unless it can read it itself. */
function toJobSpec({ toTemplate, toApp }: InjectStage, name: string, annotations: object): object {
  const wait = 'until test -f /work/end; do sleep 0.2; done; test -s "$AUTH_TOKEN_FILE"';
  const work = { name: 'work', mountPath: '/work' };
  const spec = {
    restartPolicy: 'Never',
    containers: [toApp({ command: ['sh', '-c', wait], volumeMounts: [work] })],
    volumes: [{ name: 'work', emptyDir: {} }],
  };
  return {
    backoffLimit: 0,
    template: toTemplate(name, { annotations: { ...annotations }, spec }),
  };
}

function toJob(stage: InjectStage, name: string, annotations: object): object {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: stage.namespace.name },
    spec: toJobSpec(stage, name, annotations),
  };
}

/** Once a year: the test makes its Job now, as `kubectl create job --from` does for people. */
function toCronJob(stage: InjectStage): object {
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'cron', namespace: stage.namespace.name },
    spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: toJobSpec(stage, 'cron', AUDIENCE) } },
  };
}
