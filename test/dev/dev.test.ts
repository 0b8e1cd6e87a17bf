// `coatcheck dev` as a user starts it: one line when it is ready, a token by curl's means, an end on SIGTERM.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { keep, noteToken } from '../support/tokens.ts';
import { type Running, start, waitForOutput } from './program.ts';

const READY = /^coatcheck dev ready (http:\/\/\S+)\n/;
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';

describe('coatcheck dev', function () {
  // Processes, on a machine that does other things too.
  this.timeout(40_000);
  let dev: Running;
  let url: string;

  async function launch(...args: readonly string[]): Promise<void> {
    dev = start('cli/main.ts', ['dev', '--listen', '127.0.0.1:0', ...args]);
    [, url = ''] = await waitForOutput(dev, READY);
  }

  async function end(): Promise<void> {
    dev.process.kill('SIGTERM');
    await dev.ended;
  }

  async function getSubjectToken(serviceAccount: string, audience = 'payments'): Promise<string> {
    const response = await fetch(
      `${url}/dev/kube/api/v1/namespaces/shop/serviceaccounts/${serviceAccount}/token`,
      {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
          spec: {
            audiences: [audience],
            boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: `${serviceAccount}-1` },
          },
        }),
      },
    );
    expect(response.status).to.equal(201);
    const { status } = (await response.json()) as { status: { token: string } };
    return noteToken(status.token);
  }

  async function exchange(
    token: string,
  ): Promise<{ status: number; body: Record<string, string> }> {
    const response = await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: JWT_TYPE,
      }),
    });
    const text = await response.text();
    const body = JSON.parse(text) as Record<string, string>;
    if (body.access_token === undefined) keep('dev-refusal', text);
    else noteToken(body.access_token);
    return { status: response.status, body };
  }

  describe('without --roles', () => {
    before(() => launch());
    after(end);

    it('prints the ready line and nothing else on standard output, and its demo roles beside it', () => {
      expect(dev.output.stdout).to.match(/^coatcheck dev ready http:\/\/127\.0\.0\.1:\d+\n$/);
      expect(dev.output.stderr).to.contain('name: payments-checkout');
    });

    it('hears of a pod’s death: its tokens get nothing from then on, those of the next pod of its name do', async () => {
      const token = await getSubjectToken('checkout');
      expect((await exchange(token)).status).to.equal(200);
      const pod = `${url}/dev/kube/api/v1/namespaces/shop/pods/checkout-1`;
      expect((await fetch(pod, { method: 'DELETE' })).status).to.equal(200);
      const { status, body } = await exchange(token);
      expect([status, body.reason]).to.deep.equal([400, 'token_refused']);
      expect((await exchange(await getSubjectToken('checkout'))).status).to.equal(200);
    });

    it('exchanges a token of the local issuer for one that verifies by its published keys', async () => {
      const { status, body } = await exchange(await getSubjectToken('checkout'));
      expect(status).to.equal(200);
      expect(body).to.include({ token_type: 'Bearer', scope: 'payments:read' });
      const token = body.access_token ?? '';
      const keys = createRemoteJWKSet(new URL(`${url}/oauth2/jwks`));
      const { payload } = await jwtVerify(token, keys, {
        issuer: url,
        audience: 'payments',
        typ: 'at+jwt',
      });
      expect(payload.sub).to.equal('k8s:dev:shop:checkout');
    });

    it('marks its key and its issuer, so that nobody takes its tokens for real ones', async () => {
      const { body } = await exchange(await getSubjectToken('checkout'));
      expect(decodeProtectedHeader(body.access_token ?? '').kid).to.match(/^dev-/);
    });

    it('refuses a ServiceAccount that no demo role names', async () => {
      const { status, body } = await exchange(await getSubjectToken('reports'));
      expect(status).to.equal(400);
      expect(body).to.include({ error: 'invalid_request', reason: 'no_role' });
    });

    for (const target of ['/oauth2/jwks', '/dev/kube/openid/v1/jwks']) {
      it(`answers 421 to a foreign Host at ${target}, 200 to its own`, async () => {
        const own = new URL(url).host;
        expect(await getStatus(target, 'evil.example')).to.equal(421);
        expect(await getStatus(target, own)).to.equal(200);
        expect(await getStatus(target, `localhost:${own.split(':')[1]}`)).to.equal(200);
      });
    }

    it('gives no token to a foreign Host, whatever it posts', async () => {
      const body = JSON.stringify({ spec: { audiences: ['payments'] } });
      const target = '/dev/kube/api/v1/namespaces/shop/serviceaccounts/checkout/token';
      const answer = await sendRaw(
        `POST ${target} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      keep('dev-foreign-host', answer);
      expect(answer).to.match(/^HTTP\/1\.1 421 /);
      expect(answer).not.to.contain('eyJ');
    });

    it('answers a path of nobody with the broker’s own 404', async () => {
      const response = await fetch(`${url}/dev/kubernetes`);
      expect(response.status).to.equal(404);
      expect(await response.json()).to.include({ reason: 'not_found' });
    });

    function getStatus(target: string, host: string): Promise<number | undefined> {
      return new Promise((resolve, reject) => {
        request(`${url}${target}`, { headers: { Host: host } }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .once('error', reject)
          .end();
      });
    }

    function sendRaw(text: string): Promise<string> {
      const { hostname, port } = new URL(url);
      return new Promise((resolve, reject) => {
        let answer = '';
        const socket: Socket = connect(Number(port), hostname, () => socket.write(text));
        socket.setEncoding('utf8').on('data', (chunk: string) => {
          answer += chunk;
        });
        socket.once('error', reject).once('close', () => resolve(answer));
      });
    }
  });

  it('grants by the roles it is given, and no longer by its own', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-test-'));
    try {
      const subjects = '[{ namespace: shop, serviceAccount: reports }]';
      writeFileSync(
        path.join(folder, 'reports.yaml'),
        `apiVersion: auth.example.io/v1alpha1\nkind: TokenRole\nmetadata: { name: reports }\nspec: { audience: payments, subjects: ${subjects} }\n`,
      );
      await launch('--roles', folder);
      expect((await exchange(await getSubjectToken('reports'))).status).to.equal(200);
      expect((await exchange(await getSubjectToken('checkout'))).body.reason).to.equal('no_role');
      await end();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('ends with code 0 on SIGTERM, and says so', async () => {
    await launch();
    dev.process.kill('SIGTERM');
    const { code, stderr } = await dev.ended;
    expect(code).to.equal(0);
    expect(stderr).to.contain('"msg":"stopped"');
  });

  const refusals = [
    { args: ['--listen', '0.0.0.0:0'], code: 2, says: '--listen must be a loopback address' },
    { args: ['--roles', '/nonexistent/roles'], code: 2, says: '--roles must be a folder' },
    { args: ['--bootstrap-tokens', 'x'], code: 2, says: '--bootstrap-tokens is not a flag' },
  ];
  for (const { args, code, says } of refusals) {
    it(`refuses ${args.join(' ')} before it listens`, async () => {
      const ended = await start('cli/main.ts', ['dev', ...args]).ended;
      expect(ended.code).to.equal(code);
      expect(ended.stderr).to.contain(says);
      expect(ended.stdout).to.equal('');
    });
  }

  it('says which address is taken, and ends with code 1', async () => {
    await launch();
    try {
      const ended = await start('cli/main.ts', ['dev', '--listen', new URL(url).host]).ended;
      expect(ended.code).to.equal(1);
      expect(ended.stderr).to.contain('EADDRINUSE');
    } finally {
      await end();
    }
  });

  it('takes --insecure-listen at its word, and warns', async () => {
    const running = start('cli/main.ts', ['dev', '--listen', '0.0.0.0:0', '--insecure-listen']);
    await waitForOutput(running, READY);
    running.process.kill('SIGTERM');
    const { stderr } = await running.ended;
    expect(stderr).to.match(/"level":"warn".*listening where others may reach it/);
  });
});
