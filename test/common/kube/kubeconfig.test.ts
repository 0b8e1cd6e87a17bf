// A person's kubeconfig by kubectl's rules: which file and entry wins, every kind of credential, and messages that name the
// place and quote nothing that could be secret.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../../common/certificates.ts';
import { type KubeAccess, readKubeAccess } from '../../../common/kube/kubeconfig.ts';
import { KubeconfigError } from '../../../common/kube/kubeconfig-file.ts';
import { createPersonClient } from '../../../common/kube/person-client.ts';
import { keep, noteToken } from '../../support/tokens.ts';

const FOLDER = mkdtempSync(path.join(tmpdir(), 'coatcheck-kubeconfig-'));
const SECRET = noteToken('a-very-secret-token-of-a-person');
const DAY_MS = 86_400_000;
const validity = {
  notBefore: new Date(Date.now() - DAY_MS),
  notAfter: new Date(Date.now() + DAY_MS),
};
const authority = issueAuthority({ commonName: 'ca', ...validity });
const base64 = (text: string) => Buffer.from(text).toString('base64');

function write(name: string, content: unknown): string {
  const file = path.join(FOLDER, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

/** A whole kubeconfig of one context. */
function toConfig(user: object, cluster: object = {}, context: object = {}): object {
  return {
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'c', user: 'u', ...context } }],
    clusters: [{ name: 'c', cluster: { server: 'https://api.example', ...cluster } }],
    users: [{ name: 'u', user }],
  };
}

const read = (kubeconfig: string | undefined, rest: object = {}): Promise<KubeAccess> =>
  readKubeAccess({
    ...(kubeconfig !== undefined && { kubeconfig }),
    environment: { PATH: process.env.PATH },
    timeoutMs: 5000,
    isInteractive: false,
    ...rest,
  });

async function fail(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof KubeconfigError)) throw new Error('it was read', { cause: error });
  keep('kubeconfig', error.message);
  expect(error.message).not.to.contain(SECRET);
  return error.message;
}

describe('a kubeconfig', () => {
  after(() => rmSync(FOLDER, { recursive: true }));

  it('gives server, namespace, CA and token of its current context', async () => {
    const cluster = {
      server: 'https://api.example:6443/k8s/clusters/c-1/',
      'certificate-authority-data': base64(authority.certificate),
      'tls-server-name': 'kubernetes',
    };
    const access = await read(
      write('plain', toConfig({ token: SECRET }, cluster, { namespace: 'shop' })),
    );
    expect({ ...access, credential: undefined }).to.deep.equal({
      server: 'https://api.example:6443/k8s/clusters/c-1',
      context: 'lab',
      namespace: 'shop',
      ca: authority.certificate,
      serverName: 'kubernetes',
      isInsecure: false,
      credential: undefined,
    });
    expect(access.credential.token?.reveal()).to.equal(SECRET);
    expect(JSON.stringify(access)).not.to.contain(SECRET);
  });

  it('takes the file of a token over the token, and paths from where the kubeconfig lies', async () => {
    write('sub/token', `${SECRET}\n`);
    const file = write('sub/config', toConfig({ token: 'old', tokenFile: 'token' }));
    expect((await read(file)).credential.token?.reveal()).to.equal(SECRET);
  });

  it('takes data over a file of the same kind, and gives certificate and key', async () => {
    write('pair/key.pem', 'KEY');
    const user = {
      'client-certificate-data': base64('CERTIFICATE'),
      'client-certificate': 'nowhere',
      'client-key': 'key.pem',
    };
    const { credential } = await read(write('pair/config', toConfig(user)));
    expect(credential.certificate).to.equal('CERTIFICATE');
    expect(credential.key?.reveal()).to.equal('KEY');
  });

  it('takes a person’s impersonation along', async () => {
    const extra = { 'example.com/Team': ['x', 'y'], scopes: ['all'] };
    const groups = { 'as-groups': ['a', 'b'], 'as-user-extra': extra };
    const user = { token: SECRET, as: 'jane', 'as-uid': '7', ...groups };
    const { credential } = await read(write('as', toConfig(user)));
    expect(credential.impersonation).to.deep.equal({
      'Impersonate-User': 'jane',
      'Impersonate-Uid': '7',
      'Impersonate-Group': ['a', 'b'],
      'Impersonate-Extra-example.com%2FTeam': ['x', 'y'],
      'Impersonate-Extra-scopes': ['all'],
    });
  });

  it('may have no user at all', async () => {
    const file = write('anonymous', { ...toConfig({}, {}, { user: '' }), users: [] });
    expect((await read(file)).credential).to.deep.equal({ impersonation: {} });
  });

  describe('of several files', () => {
    const first = () =>
      write('first', {
        contexts: [{ name: 'a', context: { cluster: 'c', user: 'u' } }],
        users: [{ name: 'u', user: { username: 'jane', password: 'p' } }],
      });
    const second = () =>
      write('second', {
        'current-context': 'a',
        contexts: [{ name: 'a', context: { cluster: 'wrong', user: 'wrong' } }],
        clusters: [{ name: 'c', cluster: { server: 'https://two.example' } }],
        users: [{ name: 'u', user: { token: SECRET } }],
      });
    const readAll = (files: readonly string[]) =>
      read(undefined, { environment: { KUBECONFIG: files.join(path.delimiter) } });

    it('takes each name from the first that has it, whole', async () => {
      const access = await readAll([first(), path.join(FOLDER, 'nowhere'), '', second()]);
      expect(access.server).to.equal('https://two.example');
      expect(access.credential.basic?.reveal()).to.equal('jane:p');
      expect(access.credential.token).to.equal(undefined);
    });

    it('takes the current context from the first that names one', async () => {
      const other = write('other', {
        'current-context': 'b',
        contexts: [{ name: 'b', context: { cluster: 'c' } }],
      });
      expect((await readAll([first(), other, second()])).context).to.equal('b');
    });
  });

  it('is ~/.kube/config where nothing is said, and the context that is named', async () => {
    const both = toConfig({ token: SECRET }) as { contexts: object[] };
    both.contexts.push({ name: 'other', context: { cluster: 'c', user: 'u', namespace: 'x' } });
    write('home/.kube/config', both);
    const environment = { HOME: path.join(FOLDER, 'home') };
    expect((await read(undefined, { environment })).namespace).to.equal('default');
    expect((await read(undefined, { environment, context: 'other' })).namespace).to.equal('x');
  });

  it('is the ServiceAccount of the pod where there is none, and only there', async () => {
    write('account/token', SECRET);
    write('account/ca.crt', authority.certificate);
    write('account/namespace', 'shop\n');
    const environment = {
      HOME: path.join(FOLDER, 'empty'),
      KUBERNETES_SERVICE_HOST: 'fd00::1',
      KUBERNETES_SERVICE_PORT: '6443',
    };
    const inPod = { environment, accountFolder: path.join(FOLDER, 'account') };
    const access = await read(undefined, inPod);
    expect(access).to.deep.include({
      server: 'https://[fd00::1]:6443',
      namespace: 'shop',
      context: 'in-cluster',
    });
    expect(access.credential.token?.reveal()).to.equal(SECRET);
    const said = await read(write('explicit', toConfig({ token: SECRET })), inPod);
    expect(said.context).to.equal('lab');
  });

  describe('with an exec plugin', () => {
    const V1 = 'client.authentication.k8s.io/v1';
    let plugins = 0;
    function toPlugin(script: string, rest: object = {}): string {
      plugins += 1;
      const name = `plugin-${plugins}`;
      const plugin = write(`plugins/${name}`, `#!/bin/sh\n${script}\n`);
      chmodSync(plugin, 0o755);
      const exec = { apiVersion: V1, command: `./${name}`, interactiveMode: 'Never', ...rest };
      return write(`plugins/${name}.config`, toConfig({ exec }));
    }
    const answer = (status: object, apiVersion = V1) =>
      `printf '%s' '${JSON.stringify({ apiVersion, kind: 'ExecCredential', status })}'`;

    it('takes its token, without a shell in between', async () => {
      const file = toPlugin(`test "$1" = '; exit 3' && ${answer({ token: SECRET })}`, {
        args: ['; exit 3'],
      });
      expect((await read(file)).credential.token?.reveal()).to.equal(SECRET);
    });

    it('takes its certificate and key, of v1beta1 too', async () => {
      const version = 'client.authentication.k8s.io/v1beta1';
      const pair = { clientCertificateData: 'CERT', clientKeyData: 'KEY' };
      const { credential } = await read(toPlugin(answer(pair, version), { apiVersion: version }));
      expect([credential.certificate, credential.key?.reveal()]).to.deep.equal(['CERT', 'KEY']);
    });

    it('tells it of the cluster where it wants to know, and gives it its variables', async () => {
      const script = `echo "$KUBERNETES_EXEC_INFO" > '${FOLDER}/info'; test "$STAGE" = lab && ${answer({ token: SECRET })}`;
      const file = toPlugin(script, {
        provideClusterInfo: true,
        env: [{ name: 'STAGE', value: 'lab' }],
      });
      await read(file);
      expect(JSON.parse(readFileSync(path.join(FOLDER, 'info'), 'utf8'))).to.deep.equal({
        apiVersion: V1,
        kind: 'ExecCredential',
        spec: { interactive: false, cluster: { server: 'https://api.example' } },
      });
    });

    const failures: readonly { name: string; script: string; rest?: object; says: string }[] = [
      { name: 'fails', script: `echo ${SECRET}; exit 7`, says: 'failed with exit code 7' },
      {
        name: 'prints no JSON',
        script: `echo ${SECRET} `,
        says: 'printed something that is not JSON',
      },
      {
        name: 'prints another version',
        script: answer({ token: SECRET }, 'client.authentication.k8s.io/v9'),
        says: `must print an ExecCredential of ${V1}`,
      },
      { name: 'gives nothing', script: answer({}), says: 'neither a token nor a certificate' },
      {
        name: 'wants a person',
        script: answer({ token: SECRET }),
        rest: { interactiveMode: 'Always' },
        says: 'there is no terminal',
      },
      {
        name: 'is not there',
        script: 'true',
        rest: { command: 'no-such-plugin', installHint: 'apt install it' },
        says: 'no-such-plugin is not installed; its hint: apt install it',
      },
      {
        name: 'speaks an alpha version',
        script: 'true;',
        rest: { apiVersion: 'client.authentication.k8s.io/v1alpha1' },
        says: 'exec.apiVersion must be one of',
      },
    ];
    for (const { name, script, rest, says } of failures) {
      it(`says that the plugin ${name}, and nothing of what it printed`, async () => {
        expect(await fail(read(toPlugin(script, rest)))).to.contain(says);
      });
    }

    const hanging = [
      ['hangs', 'exec sleep 5'],
      ['hangs and does not want to end', 'trap "" TERM; sleep 5'],
      ['left somebody behind who hangs', 'sleep 5 & wait'],
    ] as const;
    for (const [name, script] of hanging)
      it(`does not wait for one that ${name}`, async () => {
        const startedAt = performance.now();
        const failure = await fail(read(toPlugin(script), { timeoutMs: 200 }));
        expect(failure).to.contain('did not end within 0.2 s');
        expect(performance.now() - startedAt).to.be.below(3000);
      });

    it('says that the plugin prints too much', async () => {
      const file = toPlugin('exec head -c 2000000 /dev/zero');
      expect(await fail(read(file))).to.contain('printed more than 1048576 bytes');
    });
  });

  const wrong: readonly { name: string; content: unknown; says: string }[] = [
    { name: 'no YAML', content: `a: [${SECRET}\nb: }`, says: 'is not valid YAML, line' },
    { name: 'a list', content: [SECRET], says: 'must be an object' },
    {
      name: 'no current context',
      content: { ...toConfig({}), 'current-context': '' },
      says: 'no current context',
    },
    {
      name: 'a context that is not there',
      content: { ...toConfig({}), 'current-context': 'x' },
      says: 'has no context "x"',
    },
    {
      name: 'a cluster that is not there',
      content: { ...toConfig({}), clusters: [] },
      says: 'names the cluster "c"',
    },
    {
      name: 'a user who is not there',
      content: { ...toConfig({}), users: [] },
      says: 'names the user "u"',
    },
    {
      name: 'no server',
      content: toConfig({}, { server: SECRET }),
      says: 'server must be an http(s) URL',
    },
    {
      name: 'plain http to elsewhere',
      content: toConfig({ token: SECRET }, { server: 'http://api.example' }),
      says: 'must be https',
    },
    {
      name: 'a password in the server',
      content: toConfig({}, { server: `https://a:${SECRET}@x` }),
      says: 'no user, query or fragment',
    },
    { name: 'a proxy', content: toConfig({}, { 'proxy-url': 'http://proxy' }), says: 'proxy-url' },
    {
      name: 'a CA and none',
      content: toConfig(
        {},
        {
          'insecure-skip-tls-verify': true,
          'certificate-authority-data': base64(authority.certificate),
        },
      ),
      says: 'exclude each other',
    },
    {
      name: 'a CA that is none',
      content: toConfig({}, { 'certificate-authority-data': base64(SECRET) }),
      says: 'holds no PEM certificate',
    },
    {
      name: 'a CA file that is not there',
      content: toConfig({}, { 'certificate-authority': 'nowhere.crt' }),
      says: 'certificate-authority cannot be read (ENOENT)',
    },
    {
      name: 'a certificate without key',
      content: toConfig({ 'client-certificate-data': base64('x') }),
      says: 'go together',
    },
    {
      name: 'an auth provider',
      content: toConfig({ 'auth-provider': { name: 'gcp' } }),
      says: 'auth-provider is gone',
    },
    {
      name: 'a token of two lines',
      content: toConfig({ token: `${SECRET}\nx` }),
      says: 'the token is none',
    },
  ];
  for (const [at, { name, content, says }] of wrong.entries()) {
    it(`says what is wrong with ${name}`, async () => {
      expect(await fail(read(write(`wrong-${at}`, content)))).to.contain(says);
    });
  }

  it('says that there is none at all', async () => {
    const environment = { HOME: path.join(FOLDER, 'empty') };
    expect(await fail(read(undefined, { environment }))).to.contain('there is no kubeconfig');
    expect(await fail(read(path.join(FOLDER, 'nowhere')))).to.contain('cannot be read (ENOENT)');
  });
});

describe('requests of a person', () => {
  let server: Server;
  let url: string;
  const seen: {
    authorization?: string | undefined;
    groups: string[] | undefined;
    user: string;
    body: string;
  }[] = [];
  const client = issueCertificate(
    { commonName: 'jane', names: [], usage: 'client', ...validity },
    authority,
  );
  const config = (user: object, cluster: object = {}) =>
    read(
      write(
        'requests',
        toConfig(user, {
          server: url,
          'certificate-authority-data': base64(authority.certificate),
          ...cluster,
        }),
      ),
    );
  const send = async (access: KubeAccess, timeoutMs = 5000) => {
    const person = createPersonClient({ access, timeoutMs, userAgent: 'test' });
    try {
      return await person.send({ method: 'POST', path: '/x', body: { a: 1 } });
    } finally {
      person.close();
    }
  };

  before(async () => {
    mkdirSync(FOLDER, { recursive: true });
    const leaf = issueCertificate(
      { commonName: 'api', names: ['127.0.0.1', 'kubernetes'], ...validity },
      authority,
    );
    const tls = {
      cert: leaf.certificate,
      key: leaf.key,
      ca: authority.certificate,
      requestCert: true,
      rejectUnauthorized: false,
    };
    server = createServer(tls, (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      request.on('end', () => {
        const { authorization } = request.headers;
        const groups = request.headersDistinct['impersonate-group'];
        const user = String((request.socket as TLSSocket).getPeerCertificate().subject?.CN ?? '');
        seen.push({ authorization, groups, user, body });
        if (authorization === 'Bearer slow') return;
        response
          .writeHead(307, { Location: 'https://elsewhere.example/', Warning: '299 - "careful"' })
          .end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(FOLDER, { recursive: true, force: true });
  });

  it('carry the token, and follow no redirect', async () => {
    const answer = await send(await config({ token: SECRET, as: 'x', 'as-groups': ['a', 'b'] }));
    expect(answer).to.deep.include({ status: 307, text: '{}', warnings: ['299 - "careful"'] });
    expect(answer.date).to.be.closeTo(Date.now(), 2000);
    expect(seen.at(-1)).to.deep.equal({
      authorization: `Bearer ${SECRET}`,
      groups: ['a', 'b'],
      user: '',
      body: '{"a":1}',
    });
  });

  it('show the client certificate', async () => {
    const pair = {
      'client-certificate-data': base64(client.certificate),
      'client-key-data': base64(client.key),
    };
    await send(await config(pair));
    expect(seen.at(-1)).to.deep.include({ user: 'jane', authorization: undefined });
  });

  it('are made to a name in the certificate, where one is given', async () => {
    expect((await send(await config({}, { 'tls-server-name': 'kubernetes' }))).status).to.equal(
      307,
    );
    const other = await send(await config({}, { 'tls-server-name': 'other' })).catch(
      (error: unknown) => error,
    );
    expect((other as NodeJS.ErrnoException).code).to.equal('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('go to nobody whose CA is another one, unless the kubeconfig does not care', async () => {
    const stranger = base64(issueAuthority({ commonName: 'other', ...validity }).certificate);
    const before = seen.length;
    const error = await send(
      await config({ token: SECRET }, { 'certificate-authority-data': stranger }),
    ).catch((reason: unknown) => reason);
    expect((error as NodeJS.ErrnoException).code).to.match(
      /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/,
    );
    expect(seen.length).to.equal(before);
    const careless = { 'certificate-authority-data': '', 'insecure-skip-tls-verify': true };
    expect((await send(await config({ token: SECRET }, careless))).status).to.equal(307);
  });

  it('end with a code where nothing is answered', async () => {
    const error = await send(await config({ token: 'slow' }), 100).catch(
      (reason: unknown) => reason,
    );
    expect((error as NodeJS.ErrnoException).code).to.equal('ETIMEDOUT');
  });
});
