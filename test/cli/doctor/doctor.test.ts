// `coatcheck doctor` against a cluster where everything is well, and against one per thing that can be wrong: each names
// that one thing, what mends it, and leaves the other rows as they were.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../../common/certificates.ts';
import { noteToken } from '../../support/tokens.ts';
import { askDoctor, askSpoilt, type Told } from './asking.ts';
import { CASES, setStatus, setVariable } from './cases.ts';
import {
  type FakeCluster,
  get,
  startCluster,
  toAppPod,
  toPath,
  toRegistration,
  toStatus,
  type World,
} from './cluster.ts';

describe('coatcheck doctor', () => {
  let cluster: FakeCluster;
  let healthy: Told;
  before(async () => {
    cluster = await startCluster();
    healthy = await ask();
  });
  after(() => cluster.close());

  const ask = (...args: readonly string[]) => askDoctor(cluster, args);
  const askIn = (spoil: (world: World) => void, ...args: readonly string[]) =>
    askSpoilt(cluster, spoil, args);

  it('finds nothing wrong where nothing is, in every row', () => {
    expect(healthy.rows.filter(({ state }) => state !== 'ok')).to.deep.equal([]);
    expect(healthy.code).to.equal(0);
    expect(healthy.rows.length).to.be.greaterThan(22);
    expect(new Set(healthy.rows.map(({ check }) => check)).size).to.equal(23);
  });

  it('reads no Secret, and stores nothing', async () => {
    cluster.asked.length = 0;
    await askIn(() => undefined);
    const writes = cluster.asked.filter((one) => !one.startsWith('GET '));
    expect(cluster.asked.filter((one) => one.includes('/secrets'))).to.deep.equal([]);
    expect([...new Set(writes)].sort()).to.deep.equal([
      'POST /api/v1/namespaces/shop/pods',
      'POST /apis/authorization.k8s.io/v1/subjectaccessreviews',
    ]);
  });

  it('tells the same in the same order twice', async () => {
    const again = await askIn(() => undefined);
    expect(again.rows.map(({ check, about }) => [check, about])).to.deep.equal(
      healthy.rows.map(({ check, about }) => [check, about]),
    );
  });

  for (const { name, spoil, rows, mend, code } of CASES) {
    it(`names ${name}, and that alone`, async () => {
      const told = await askIn(spoil);
      const bad = told.rows.filter(({ state }) => state !== 'ok');
      expect(bad.map(({ check, state }) => [check, state])).to.deep.equal(
        rows.map(([check, state]) => [check, state]),
        told.text,
      );
      for (const [at, [, , seen]] of rows.entries())
        expect(`${bad[at]?.about}: ${bad[at]?.seen}`).to.contain(seen);
      if (mend !== undefined) expect(bad.map((row) => row.mend).join('\n')).to.contain(mend);
      const isProblem = rows.some(([, state]) => state === 'problem');
      expect(told.code).to.equal(code ?? (isProblem ? 1 : 0));
      // Every row that is not well says what to do about it, or why it cannot be seen.
      for (const row of bad) expect(row.mend ?? row.seen, row.check).not.to.equal('');
    });
  }

  it('says which right is missing for each thing that it may not see, and does not fail', async () => {
    const told = await askIn((world) => {
      const open = new Set(['/version', '/healthz']);
      world.isForbidden = (_, path) =>
        !open.has(path) && !path.startsWith('/apis/admissionregistration.k8s.io/v1beta1');
      world.createPod = () => ({ status: 403, body: {} });
    });
    const seen = told.rows.filter(({ state }) => state === 'unknown').map((row) => row.seen);
    expect(
      told.rows.filter(({ state }) => state === 'problem' || state === 'warning'),
    ).to.deep.equal([]);
    expect(seen).to.include.members([
      'no right to list deployments.apps',
      'no right to list pods in the namespace shop',
      'no right to get the path /.well-known/openid-configuration',
    ]);
    expect(told.code).to.equal(0);
    expect((await ask('--strict')).code).to.equal(1);
  });

  it('looks at the rest where single rights are missing', async () => {
    const told = await askIn((world) => {
      world.isForbidden = (method, path) =>
        path.includes('/proxy/') ||
        path.includes('rbac.authorization') ||
        path.endsWith('/subjectaccessreviews') ||
        path.includes('/configmaps/') ||
        (method === 'POST' && path.endsWith('/pods'));
      const message = 'User "x" cannot create resource "pods" in API group ""';
      world.createPod = () => ({ status: 403, body: toStatus(403, message) });
    });
    const unknown = told.rows.filter(({ state }) => state === 'unknown');
    expect(unknown.map(({ check }) => check)).to.include.members([
      'readiness',
      'certificates',
      'rights',
      'issuer',
      'roles',
      'broker',
    ]);
    expect(unknown.map(({ seen }) => seen)).to.include.members([
      'no right to get pods/proxy in the namespace auth',
      'no right to get services/proxy in the namespace auth',
      'no right to create subjectaccessreviews.authorization.k8s.io',
      'no right to get configmaps "coatcheck-clusters" in the namespace auth',
    ]);
    const well = told.rows.filter(({ state }) => state === 'ok').map(({ check }) => check);
    expect(well).to.include.members([
      'deployments',
      'pods',
      'webhook-registration',
      'controller-lease',
    ]);
    expect(told.code).to.equal(0);
  });

  it('tries the dry run where the webhook takes pods, or where it is told to', async () => {
    const selecting = (world: World) => {
      const namespaceSelector = { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] };
      const registration = toRegistration(world.ca, 'coatcheck-webhook', { namespaceSelector });
      world.objects.set(toPath.registration(), registration);
    };
    const findProbe = ({ rows }: Told) => rows.find(({ check }) => check === 'injection')?.about;
    expect(findProbe(await askIn(selecting))).to.equal('in default');
    expect(findProbe(await askIn(selecting, '--probe-namespace', 'auth'))).to.equal('in auth');
  });

  it('leaves pods of namespaces alone that the webhook is not asked about', async () => {
    const told = await askIn((world) => {
      const namespaceSelector = {
        matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['a'] }],
      };
      const registration = toRegistration(world.ca, 'coatcheck-webhook', { namespaceSelector });
      world.objects.set(toPath.registration(), registration);
      world.objects.set(toPath.appPod('bare'), toAppPod('bare'));
    });
    expect(told.rows.filter(({ state }) => state !== 'ok')).to.deep.equal([]);
  });

  it('tells one row where the API server does not accept the credential', async () => {
    const told = await askIn(({ paths }) => void paths.set('/version', { status: 401, body: {} }));
    expect(told.rows.map(({ check, state }) => [check, state])).to.deep.equal([
      ['api-server', 'problem'],
    ]);
    expect(told.rows[0]?.seen).to.contain('does not accept the credential');
    expect(told.code).to.equal(1);
  });

  it('says that there is no installation, and looks at what needs none', async () => {
    const told = await askIn(({ objects }) => {
      for (const part of ['webhook', 'broker', 'controller'] as const)
        objects.delete(toPath.deployment(part));
    });
    expect(told.rows.find(({ check }) => check === 'installation')?.state).to.equal('problem');
    expect(told.rows.map(({ check }) => check)).to.include.members([
      'issuer',
      'injection',
      'missed-pods',
    ]);
    expect(told.code).to.equal(1);
    const elsewhere = await askIn(() => undefined, '--namespace', 'shop');
    expect(elsewhere.text).to.contain('in the namespace shop');
  });

  it('is content with a broker that is in another cluster, and looks at no store or role here', async () => {
    const told = await askIn((world) => {
      world.objects.delete(toPath.deployment('broker'));
      for (const n of [1, 2]) world.objects.delete(toPath.pod('broker', n));
      for (const name of ['COATCHECK_BROKER_URL', 'COATCHECK_ISSUER'])
        setVariable(world, 'webhook', name, 'https://broker.example');
    });
    expect(told.rows.filter(({ state }) => state !== 'ok')).to.deep.equal([]);
    expect(told.rows.map(({ check }) => check)).not.to.include.members(['store']);
    expect(told.text).to.contain('it is elsewhere, at https://broker.example');
    const broken = await askIn((world) => void world.objects.delete(toPath.deployment('broker')));
    expect(broken.text).to.contain('there is no broker');
    expect(broken.code).to.equal(1);
  });

  describe('with --broker-url', () => {
    let broker: Server;
    let url: string;
    let caFile: string;
    const seen: (string | undefined)[] = [];
    before(async () => {
      const now = Date.now();
      const validity = { notBefore: new Date(now - 1e6), notAfter: new Date(now + 1e8) };
      const authority = issueAuthority({ commonName: 'ca', ...validity });
      const leaf = issueCertificate(
        { commonName: 'b', names: ['127.0.0.1'], ...validity },
        authority,
      );
      broker = createServer({ cert: leaf.certificate, key: leaf.key }, (request, response) => {
        seen.push(request.headers.authorization);
        const isKeys = request.url === '/oauth2/jwks';
        const keys = { keys: [{ kty: 'EC' }, { kty: 'EC' }] };
        response.end(
          JSON.stringify(isKeys ? keys : { issuer: url, jwks_uri: `${url}/oauth2/jwks` }),
        );
      });
      await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
      url = `https://127.0.0.1:${(broker.address() as AddressInfo).port}`;
      caFile = path.join(path.dirname(cluster.kubeconfig), 'broker-ca.crt');
      writeFileSync(caFile, authority.certificate);
    });
    after(async () => {
      broker.closeAllConnections();
      await new Promise((resolve) => broker.close(resolve));
    });
    const elsewhere = (world: World) => {
      world.objects.delete(toPath.deployment('broker'));
      for (const n of [1, 2]) world.objects.delete(toPath.pod('broker', n));
      for (const name of ['COATCHECK_BROKER_URL', 'COATCHECK_ISSUER'])
        setVariable(world, 'webhook', name, url);
    };

    it('looks at a broker that is elsewhere, and shows it no credential', async () => {
      const told = await askIn(elsewhere, '--broker-url', url, '--broker-ca-file', caFile);
      expect(told.rows.filter(({ state }) => state !== 'ok')).to.deep.equal([]);
      expect(told.text).to.contain(`${url}, 2 public keys`);
      expect(told.rows.filter(({ check }) => check === 'clocks')).to.have.lengthOf(2);
      expect(new Set(seen)).to.deep.equal(new Set([undefined]));
    });

    it('names a certificate that is not believed', async () => {
      const told = await askIn(elsewhere, '--broker-url', url);
      const row = told.rows.find(({ check }) => check === 'broker');
      expect(row?.state).to.equal('problem');
      expect(row?.seen).to.contain(
        `cannot reach ${url}: its certificate is signed by an authority that is not trusted here`,
      );
      expect(told.code).to.equal(1);
    });

    it('names another broker than pods are told', async () => {
      const told = await askIn(() => undefined, '--broker-url', url, '--broker-ca-file', caFile);
      const row = told.rows.find(({ check }) => check === 'broker');
      expect(row?.seen).to.contain(`the broker says it is ${url}, and the installation says`);
    });
  });

  it('asks which of several installations is meant', async () => {
    const second = (world: World) => {
      const one = structuredClone(get(world, toPath.deployment('webhook'))) as {
        metadata: { labels: Record<string, string> };
      };
      one.metadata.labels['app.kubernetes.io/instance'] = 'second';
      world.objects.set('/apis/apps/v1/namespaces/auth/deployments/second-webhook', one);
    };
    const told = await askIn(second);
    expect(told.code).to.equal(2);
    expect(told.text).to.contain('--namespace auth --release second');
    expect((await askIn(second, '--release', 'coatcheck')).code).to.equal(0);
  });

  it('prints a row each for people, and what mends it below', async () => {
    const told = await askIn(
      (world) => setStatus(world, toPath.deployment('broker'), { availableReplicas: 0 }),
      '--output',
      'table',
    );
    expect(told.text).to.match(/^Context lab, https:/);
    expect(told.text).to.match(/^ok {7}api-server {12}Kubernetes v1\.34\.1$/m);
    expect(told.text).to.match(/^problem {2}deployments {11}broker: 0 of 2 replicas available$/m);
    expect(told.text).to.match(/^ +means: no pod gets a token or renews one$/m);
    expect(told.text).to.match(/^ +do: {4}kubectl -n auth describe pods/m);
    expect(told.text).to.match(/^1 problem, 0 warnings, 0 unknown\.$/m);
  });

  it('shows no token that somebody put into a message', async () => {
    const token = noteToken(`eyJhbGciOiJFUzI1NiJ9.${'a'.repeat(40)}.${'b'.repeat(40)}`);
    const told = await askIn((world) =>
      setStatus(world, toPath.pod('broker'), {
        containerStatuses: [
          {
            restartCount: 1,
            lastState: { terminated: { exitCode: 1, reason: 'Error', message: `bad ${token}` } },
          },
        ],
      }),
    );
    expect(told.text).to.contain('bad [redacted]');
    expect(told.text).not.to.contain(token);
  });

  it('shows no token, and no character that writes over a terminal, from other objects either', async () => {
    const token = noteToken(`cc_${'A1b2'.repeat(8)}`);
    const told = await askIn((world) => {
      const pod = toAppPod('odd', { owner: `x\u001b[2J${token}` });
      world.objects.set(toPath.appPod('odd'), pod);
    });
    expect(told.text).not.to.contain(token);
    expect(told.rows.map(({ seen }) => seen).join()).not.to.match(/\p{Cc}/u);
    expect(told.text).to.contain('of ReplicaSet x\ufffd[2J[redacted]');
  });

  it('names places of the documents that are there', () => {
    const folder = path.join(import.meta.dirname, '../../../cli/commands/doctor');
    const named = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => [
        ...readFileSync(path.join(folder, name), 'utf8').matchAll(
          /(docs\/[a-z-]+\.md)(?:#([a-z-]+))?/g,
        ),
      ]);
    expect(named.length).to.be.greaterThan(8);
    for (const [, page = '', anchor] of named) {
      const text = readFileSync(path.join(import.meta.dirname, '../../..', page), 'utf8');
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-'),
      );
      if (anchor !== undefined) expect(headings, page).to.include(anchor);
    }
  });

  const misuse: readonly { args: readonly string[]; says: string }[] = [
    { args: ['shop'], says: 'takes flags only' },
    { args: ['--nmespace', 'x'], says: 'did you mean --namespace?' },
    { args: ['--context', 'other'], says: 'the kubeconfig has no context "other"' },
    {
      args: ['--broker-url', 'https://x', '--broker-ca-file', '/nowhere'],
      says: '--broker-ca-file cannot be read (ENOENT)',
    },
    { args: ['--kubeconfig', '/nowhere'], says: 'cannot be read (ENOENT)' },
  ];
  for (const { args, says } of misuse) {
    it(`ends with 2 for ${args.join(' ')}`, async () => {
      const told = await ask(...args);
      expect(told.code).to.equal(2);
      expect(told.text).to.contain(says);
    });
  }
});
