// What every later suite takes for granted: pods run, see their tokens, find each other, and can be looked into.
import { expect } from 'chai';
import { noteToken } from '../../support/tokens.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { isReady, type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { RESTRICTED_NAMESPACE, toContainer, toPod } from './pods.ts';

describe('a node of our own', function () {
  this.timeout(120_000);
  let cluster: NodeCluster;
  let namespace: TestNamespace;
  const named = (pod: string, container = 'app') => ({ namespace: namespace.name, pod, container });

  before(async () => {
    cluster = openNodeCluster();
    namespace = await createNamespace(cluster, 'node', RESTRICTED_NAMESPACE);
    await cluster.apply(toWorkload(cluster, namespace.name), ...toServer(cluster, namespace.name));
  });
  after(async () => namespace?.remove());

  it('is Ready', async () => {
    const { body } = await cluster.request('GET', `/api/v1/nodes/${cluster.node.name}`);
    const { conditions } = body.status as { conditions: { type: string; status: string }[] };
    expect(conditions.find(({ type }) => type === 'Ready')?.status).to.equal('True');
  });

  it('runs a pod with an init container, a native sidecar and a projected token', async () => {
    const pod = await cluster.waitForPod(named('workload'), isReady);
    expect(pod.status.podIP).to.match(/^10\.88\.0\./);
    const { code, stdout } = await cluster.exec(named('workload'), 'cat', '/copies/token');
    expect(code).to.equal(0);
    const [, payload = ''] = noteToken(stdout.trim()).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
      aud: string[];
      'kubernetes.io': { pod: { name: string; uid: string }; node: { name: string } };
    };
    expect(claims.aud).to.deep.equal(['payments']);
    expect(claims['kubernetes.io'].pod).to.deep.equal({ name: 'workload', uid: pod.metadata.uid });
    expect(claims['kubernetes.io'].node.name).to.equal(cluster.node.name);
  });

  it('keeps another container of the pod from what only one mounts', async () => {
    const { code, stderr } = await cluster.exec(named('workload'), 'cat', '/identity/token');
    expect(code).to.equal(1);
    expect(stderr).to.contain('No such file');
  });

  it('shows the logs of each container', async () => {
    await cluster.waitForPod(named('workload'), isReady);
    expect(await cluster.logs(named('workload', 'sidecar'))).to.equal('the sidecar is up\n');
    expect(await cluster.logs(named('workload'))).to.equal('the app is up\n');
  });

  it('runs the app as the uid it was given, on a root that it cannot write', async () => {
    const { stdout } = await cluster.exec(named('workload'), 'id', '-u');
    expect(stdout).to.equal('1000\n');
    const touched = await cluster.exec(named('workload'), 'touch', '/written');
    expect(touched.stderr).to.contain('Read-only file system');
  });

  it('resolves names of Services and answers at their addresses, from another pod', async () => {
    await cluster.waitForPod(named('server'), isReady);
    const url = `http://server.${namespace.name}.svc.cluster.local/`;
    const answer = await cluster.exec(named('workload'), 'wget', '-qO-', url);
    expect(answer).to.deep.equal({ code: 0, stdout: 'hello from the server\n', stderr: '' });
    const short = await cluster.exec(named('workload'), 'wget', '-qO-', 'http://server/');
    expect(short.stdout).to.equal('hello from the server\n');
  });

  it('answers a pod that calls its own Service', async () => {
    // Its short name is the pod's own, in its /etc/hosts.
    const url = `http://server.${namespace.name}.svc/`;
    const answer = await cluster.exec(named('server'), 'wget', '-qO-', url);
    expect(answer).to.deep.equal({ code: 0, stdout: 'hello from the server\n', stderr: '' });
  });

  it('does not resolve what nobody has', async () => {
    const { code, stdout, stderr } = await cluster.exec(
      named('workload'),
      'nslookup',
      `nobody.${namespace.name}.svc.cluster.local`,
    );
    expect(code).to.equal(1);
    expect(stdout + stderr).to.contain('NXDOMAIN');
  });

  it('reaches the API server by its Service, which refuses whom it does not know', async () => {
    const { stderr } = await cluster.exec(
      named('workload'),
      ...['wget', '--no-check-certificate', '-qO-', 'https://kubernetes.default.svc/api'],
    );
    expect(stderr).to.match(/40[13]/);
  });

  it('refuses a pod that is not restricted', async () => {
    const pod = toPod(namespace.name, 'privileged', {
      containers: [
        toContainer(cluster.node, 'test-shell', { securityContext: { privileged: true } }),
      ],
    });
    const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], pod);
    expect(code).to.equal(1);
    expect(stderr).to.contain('violates PodSecurity "restricted');
  });
});

function toWorkload({ node }: NodeCluster, namespace: string): object {
  const shell = (command: string, rest: object) =>
    toContainer(node, 'test-shell', { command: ['sh', '-c', command], ...rest });
  const copies = { name: 'copies', mountPath: '/copies' };
  return toPod(namespace, 'workload', {
    automountServiceAccountToken: false,
    initContainers: [
      shell('cat /identity/token > /copies/token', {
        name: 'copy',
        volumeMounts: [copies, { name: 'identity', mountPath: '/identity', readOnly: true }],
      }),
      shell('echo the sidecar is up; touch /copies/up; exec sleep 100000', {
        name: 'sidecar',
        restartPolicy: 'Always',
        volumeMounts: [copies],
        startupProbe: { exec: { command: ['test', '-f', '/copies/up'] }, periodSeconds: 1 },
      }),
    ],
    containers: [
      shell('test -f /copies/up && echo the app is up; exec sleep 100000', {
        volumeMounts: [{ ...copies, readOnly: true }],
      }),
    ],
    volumes: [
      {
        name: 'identity',
        projected: {
          sources: [
            {
              serviceAccountToken: { audience: 'payments', expirationSeconds: 600, path: 'token' },
            },
          ],
        },
      },
      { name: 'copies', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    ],
  });
}

function toServer({ node }: NodeCluster, namespace: string): object[] {
  const serve = 'echo hello from the server > /pages/index.html; exec httpd -f -p 8080 -h /pages';
  return [
    toPod(namespace, 'server', {
      containers: [
        toContainer(node, 'test-shell', {
          command: ['sh', '-c', serve],
          volumeMounts: [{ name: 'pages', mountPath: '/pages' }],
          readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
        }),
      ],
      volumes: [{ name: 'pages', emptyDir: {} }],
    }),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace, name: 'server' },
      spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
    },
  ];
}
