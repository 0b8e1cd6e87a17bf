// The process as it is started: one message for everything that is wrong, TLS, readiness, hot reload and drain.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'chai';
import { run } from '../../broker/main.ts';
import { generateSigningKey } from '../../broker/tokens/keys.ts';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import type { CommandIo } from '../../common/command.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { decodeClaims, ROLES, toForm } from './harness.ts';

const CLI = path.join(import.meta.dirname, '../../cli/main.ts');

interface Process {
  readonly child: ChildProcess;
  readonly lines: Record<string, unknown>[];
  exited: Promise<number | null>;
  output(): string;
  /** The first line of the log with this message. */
  line(message: string): Promise<Record<string, unknown>>;
}

function start(
  name: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Process {
  const child = spawn(process.execPath, [CLI, 'broker', ...args], {
    env: { PATH: process.env.PATH ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const lines: Record<string, unknown>[] = [];
  const waiting = new Set<() => void>();
  let pending = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const parts = (pending + chunk.toString()).split('\n');
    pending = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part) as Record<string, unknown>);
    for (const wake of waiting) wake();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      keep(`broker process ${name}`, text);
      resolve(code);
      for (const wake of waiting) wake();
    });
  });
  return {
    child,
    lines,
    exited,
    output: () => text,
    line: async (message) => {
      for (;;) {
        const found = lines.find(({ msg }) => msg === message);
        if (found) return found;
        if (child.exitCode !== null) throw new Error(`the broker ended: ${text}`);
        await new Promise<void>((resolve) => {
          const wake = () => {
            waiting.delete(wake);
            resolve();
          };
          waiting.add(wake);
        });
      }
    },
  };
}

describe('broker process', function () {
  this.timeout(30_000);
  let folder: string;
  let issuer: FakeIssuer;
  const at = (name: string) => path.join(folder, name);
  const pem = () =>
    String(generateSigningKey().privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const validity = {
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  };
  const authority = issueAuthority({ commonName: 'test CA', ...validity });
  const writeCertificate = (commonName: string) => {
    const leaf = issueCertificate(
      { commonName, names: ['127.0.0.1', 'localhost'], ...validity },
      authority,
    );
    writeFileSync(at('tls.crt'), leaf.certificate);
    writeFileSync(at('tls.key'), leaf.key);
  };
  const flags = (more: readonly string[] = []) => [
    '--issuer',
    'https://broker.example',
    '--clusters-file',
    at('clusters.yaml'),
    '--roles-path',
    at('roles'),
    '--signing-keys-dir',
    at('keys'),
    '--listen',
    '127.0.0.1:0',
    '--operations-listen',
    '127.0.0.1:0',
    ...more,
  ];

  before(async () => {
    issuer = await startIssuer();
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-process-'));
    mkdirSync(at('keys'));
    mkdirSync(at('roles'));
    writeFileSync(at('keys/1.pem'), pem());
    writeFileSync(at('roles/roles.yaml'), ROLES);
    writeFileSync(at('ca.crt'), authority.certificate);
    writeFileSync(
      at('clusters.yaml'),
      `clusters: [{ name: local, kind: kubernetes, issuer: "${issuer.issuer}", keys: { url: "${issuer.jwksUrl}" } }]`,
    );
    writeCertificate('broker');
  });
  after(async () => {
    await issuer.close();
    rmSync(folder, { recursive: true });
  });

  it('tells every problem of settings and files in one message, without a value, and exits with 2', async () => {
    mkdirSync(at('bad-keys'), { recursive: true });
    writeFileSync(at('bad-keys/1.pem'), 'hunter2-in-the-wrong-file');
    writeFileSync(
      at('bad-clusters.yaml'),
      'clusters: [{ name: BAD, kind: kubernetes, issuer: "x", secret: hunter2 }]',
    );
    const broker = start(
      'bad configuration',
      [
        '--clusters-file',
        at('bad-clusters.yaml'),
        '--roles-path',
        at('no-roles'),
        '--signing-keys-dir',
        at('bad-keys'),
        '--max-token-ttl-seconds',
        'hunter2',
        '--tls-cert-file',
        at('tls.key'),
        '--ca-bundle-file',
        at('nowhere'),
        '--drain-second',
        '1',
      ],
      { COATCHECK_ISUER: 'hunter2' },
    );
    expect(await broker.exited).to.equal(2);
    const output = broker.output();
    for (const part of [
      'COATCHECK_ISSUER (or --issuer) is required',
      'COATCHECK_ISUER is not a setting of this process; did you mean COATCHECK_ISSUER?',
      '--drain-second is not a flag of this command; did you mean --drain-seconds?',
      '--max-token-ttl-seconds must be a whole number',
      'COATCHECK_TLS_CERT_FILE and COATCHECK_TLS_KEY_FILE go together',
      'no-roles: cannot be read (ENOENT)',
      'bad-keys/1.pem: must hold one unencrypted private key',
      'bad-clusters.yaml: ',
      'nowhere: cannot be read (ENOENT)',
    ]) {
      expect(output).to.contain(part);
    }
    expect(output).not.to.contain('hunter2');
    expect(output.match(/problems with the settings/g)).to.have.length(1);
  });

  const single: readonly { name: string; args: () => readonly string[]; message: RegExp }[] = [
    {
      name: 'no signing key at all',
      args: () => [...flags(tls()), '--signing-keys-dir', at('roles-empty')],
      message: /holds no signing key/,
    },
    {
      name: 'no TLS, unless that is asked for',
      args: () => flags(),
      message: /TLS_CERT_FILE and COATCHECK_TLS_KEY_FILE are required/,
    },
    {
      name: 'an http issuer with TLS',
      args: () => [...flags(tls()), '--issuer', 'http://broker.example'],
      message: /COATCHECK_ISSUER must be an https URL/,
    },
    {
      name: 'an issuer with a path',
      args: () => [...flags(tls()), '--issuer', 'https://broker.example/x'],
      message: /--issuer must be a URL without path/,
    },
    {
      name: 'reserved audiences that are none',
      args: () => flags([...tls(), '--reserved-audiences', 'fine,two words']),
      message: /COATCHECK_RESERVED_AUDIENCES holds something that is no audience/,
    },
    {
      name: 'operands',
      args: () => flags([...tls(), 'now']),
      message: /coatcheck broker takes flags only/,
    },
    {
      name: 'a key of another certificate',
      args: () => [...flags(tls()), '--tls-key-file', at('keys/1.pem')],
      message: /is not the key of the certificate/,
    },
    {
      name: 'a CA bundle without a CA',
      args: () => [...flags(tls()), '--ca-bundle-file', at('tls.crt')],
      message: /must hold 1 to 16 CA certificates/,
    },
    {
      name: 'a cluster with the issuer of the broker',
      args: () => [...flags(['--insecure-plain-http']), '--issuer', issuer.issuer],
      message: /cluster local has the issuer of the broker itself/,
    },
    {
      name: 'a bootstrap token that anybody could guess',
      args: () => {
        writeFileSync(at('weak'), 'admin-admin-admin-admin-admin-admin');
        return flags([...tls(), '--bootstrap-token-file', at('weak')]);
      },
      message: /weak: the bootstrap token must be random/,
    },
    {
      name: 'a bootstrap token without a store',
      args: () => {
        writeFileSync(at('bootstrap'), noteToken(randomBytes(32).toString('hex')));
        return flags([...tls(), '--bootstrap-token-file', at('bootstrap')]);
      },
      message: /COATCHECK_BOOTSTRAP_TOKEN_FILE needs a store/,
    },
  ];
  const tls = () => ['--tls-cert-file', at('tls.crt'), '--tls-key-file', at('tls.key')];
  for (const { name, args, message } of single) {
    it(`does not start with ${name}`, async () => {
      mkdirSync(at('roles-empty'), { recursive: true });
      let output = '';
      const io: CommandIo = {
        stdout: () => undefined,
        stderr: (text) => {
          output += text;
        },
        stdin: async () => '',
        environment: {},
      };
      expect(await run(args(), io)).to.equal(2);
      expect(output).to.match(message).and.to.contain('one problem');
    });
  }

  it('says in one line that a port is taken, and exits with 1', async () => {
    const { port } = new URL(issuer.issuer);
    const taken = start('port taken', [
      ...flags(),
      '--insecure-plain-http',
      '--operations-listen',
      `127.0.0.1:${port}`,
    ]);
    expect(await taken.exited).to.equal(1);
    expect(taken.output()).to.match(/^coatcheck broker: could not start: listen EADDRINUSE/m);
    expect(taken.output()).not.to.contain('    at ');
  });

  it('ends on SIGTERM while it still waits for keys', async () => {
    const hanging = await startIssuer();
    hanging.setMode('hang');
    writeFileSync(
      at('hanging.yaml'),
      `clusters: [{ name: local, kind: kubernetes, issuer: "${hanging.issuer}", keys: { url: "${hanging.jwksUrl}" } }]`,
    );
    const starting = start('signal at start', [
      ...flags(),
      '--insecure-plain-http',
      '--clusters-file',
      at('hanging.yaml'),
    ]);
    await starting.line('roles loaded');
    starting.child.kill('SIGTERM');
    await starting.line('stopping');
    await hanging.close();
    expect(await starting.exited).to.equal(0);
  });

  it('has an audit record for every token that anybody got, when it is stopped under load', async () => {
    const broker = start('load', [...flags(), '--insecure-plain-http']);
    const { url } = await broker.line('broker is listening');
    const got: unknown[] = [];
    const ask = async () => {
      const body = toForm({ subject_token: issuer.token() });
      const answer = await fetch(`${url}/oauth2/token`, { method: 'POST', body });
      const { access_token: token } = (await answer.json()) as { access_token: string };
      got.push(decodeClaims(noteToken(token)).jti);
    };
    // Each goes on until the broker takes no more connections.
    const loop = (): Promise<void> => ask().then(loop, () => undefined);
    const loops = Array.from({ length: 16 }, loop);
    while (got.length < 100) await new Promise((resolve) => setTimeout(resolve, 10));
    broker.child.kill('SIGTERM');
    expect(await broker.exited).to.equal(0);
    await Promise.all(loops);
    const recorded = new Set(broker.lines.map(({ tokenId }) => tokenId));
    expect(got.filter((jti) => !recorded.has(jti))).to.deep.equal([]);
  });

  it('says which signing keys are in use, at the start and when one is added', async () => {
    const broker = start('keys', [...flags(), '--insecure-plain-http']);
    try {
      const first = await broker.line('signing keys in use');
      expect(first.publishedKids).to.deep.equal([first.signingKid]);
      await broker.line('broker is listening');
      broker.lines.splice(broker.lines.indexOf(first), 1);
      writeFileSync(at('keys/2.pem'), pem());
      const second = await broker.line('signing keys in use');
      expect(second.signingKid).to.equal(first.signingKid);
      expect(second.publishedKids).to.have.length(2);
    } finally {
      rmSync(at('keys/2.pem'));
      broker.child.kill('SIGTERM');
      await broker.exited;
    }
  });

  it('serves over TLS from 1.2 up, takes a new certificate without a restart, and ends on SIGTERM with 0', async () => {
    const broker = start('tls', flags(tls()));
    try {
      const { url } = await broker.line('broker is listening');
      const { port } = new URL(String(url));
      const handshake = (maxVersion?: 'TLSv1.1' | 'TLSv1.2') =>
        new Promise<string>((resolve) => {
          const socket = connect(
            {
              port: Number(port),
              host: '127.0.0.1',
              ca: authority.certificate,
              ...(maxVersion && { maxVersion, minVersion: 'TLSv1' as const }),
            },
            () => {
              resolve(`${socket.getPeerCertificate().subject.CN} ${socket.getProtocol()}`);
              socket.destroy();
            },
          );
          socket.on('error', () => resolve('refused'));
        });
      expect(await handshake()).to.equal('broker TLSv1.3');
      expect(await handshake('TLSv1.1')).to.equal('refused');
      writeCertificate('renewed');
      await waitFor(async () => (await handshake()) === 'renewed TLSv1.3');
      expect(await handshake('TLSv1.2')).to.equal('renewed TLSv1.2');
      expect(await handshake('TLSv1.1')).to.equal('refused');
    } finally {
      broker.child.kill('SIGTERM');
      expect(await broker.exited).to.equal(0);
    }
  });

  it('lets requests in flight end after SIGTERM, is not ready meanwhile, and writes out the audit trail', async () => {
    const broker = start('drain', [
      ...flags(['--insecure-plain-http']),
      '--issuer',
      'http://broker.example',
    ]);
    const { url, operationsUrl } = await broker.line('broker is listening');
    expect((await fetch(`${operationsUrl}/readyz`)).status).to.equal(200);
    const body = toForm({ subject_token: issuer.token() }).toString();
    const request = openRequest(`${url}/oauth2/token`, body);
    await request.isHeadRead;
    broker.child.kill('SIGTERM');
    await broker.line('stopping');
    const ready = await fetch(`${operationsUrl}/readyz`);
    expect([ready.status, await ready.text()]).to.deep.equal([503, 'draining\n']);
    const { status, text } = await request.finish();
    expect(status).to.equal(200);
    noteToken(String((JSON.parse(text) as { access_token: string }).access_token));
    expect(await broker.exited).to.equal(0);
    expect(
      broker.lines.filter(({ kind, outcome }) => kind === 'decision' && outcome === 'allow'),
    ).to.have.length(1);
    expect(broker.lines.at(-1)?.msg).to.equal('stopped');
  });

  it('announces the next CA bundle to those who have another, and to nobody else', async () => {
    copyFileSync(at('ca.crt'), at('bundle.crt'));
    const broker = start('ca bundle', [
      ...flags(['--insecure-plain-http', '--ca-bundle-file', at('bundle.crt')]),
      '--issuer',
      'http://broker.example',
    ]);
    try {
      const { url } = await broker.line('broker is listening');
      const ask = async (digest?: string) => {
        const response = await fetch(`${url}/oauth2/token`, {
          method: 'POST',
          body: toForm({ subject_token: issuer.token() }),
          headers: digest === undefined ? {} : { 'Coatcheck-CA-SHA256': digest },
        });
        const answer = (await response.json()) as { access_token: string; ca_bundle?: string };
        noteToken(answer.access_token);
        return answer.ca_bundle;
      };
      const digest = (file: string) =>
        createHash('sha256').update(readFileSync(file)).digest('hex');
      const first = digest(at('bundle.crt'));
      expect(await ask()).to.equal(undefined);
      expect(await ask(first)).to.equal(undefined);
      expect(await ask(first.toUpperCase())).to.equal(undefined);
      expect(await ask('0'.repeat(64))).to.equal(authority.certificate);
      const next =
        authority.certificate + issueAuthority({ commonName: 'next', ...validity }).certificate;
      writeFileSync(at('bundle.crt'), next);
      await waitFor(async () => (await ask(first)) === next);
      expect(await ask(digest(at('bundle.crt')))).to.equal(undefined);
      writeFileSync(at('bundle.crt'), 'broken');
      await broker.line('reload failed; the last good content stays in use');
      expect(await ask(first)).to.equal(next);
    } finally {
      broker.child.kill('SIGTERM');
      expect(await broker.exited).to.equal(0);
    }
  });
});

interface OpenRequest {
  /** Resolves when the server has read the head and wants the body (RFC 9110 §10.1.1). */
  readonly isHeadRead: Promise<void>;
  finish(): Promise<{ status: number | undefined; text: string }>;
}

function openRequest(url: string, body: string): OpenRequest {
  const request = httpRequest(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      'Content-Length': body.length,
      Expect: '100-continue',
    },
  });
  const answered = new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
  });
  request.flushHeaders();
  return {
    isHeadRead: new Promise((resolve) => request.once('continue', resolve)),
    finish: () => {
      request.end(body);
      return answered;
    },
  };
}

/** The broker looks every second; ten times that is a failure. */
async function waitFor(isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 12_000;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error('waited too long');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
