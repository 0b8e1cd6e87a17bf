// What a person reads when the broker cannot be asked, or says no: one sentence each, exit code 1, and never a token.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { COMMANDS } from '../../cli/commands.ts';
import { dispatch } from '../../cli/dispatch.ts';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import type { CommandIo } from '../../common/command.ts';
import { keep, noteToken } from '../support/tokens.ts';

const TOKEN = noteToken(`cc_${'a'.repeat(24)}${'B'.repeat(43)}${'0'.repeat(6)}`);
const ID = '0b7c6f1e-0000-4000-8000-000000000000';
const toError = (reason: string, text: string) =>
  JSON.stringify({ error: reason, error_description: text, reason, correlation_id: ID });

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], more: Partial<CommandIo> = {}): Promise<Said> {
  let stdout = '';
  let stderr = '';
  const wanted = await dispatch(COMMANDS, args, () => 'top');
  if (wanted.kind !== 'run') throw new Error(`not a command: ${args.join(' ')}`);
  const code = await wanted.command.run(wanted.args, {
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: () => Promise.resolve(''),
    environment: { COATCHECK_TOKEN: TOKEN },
    ...more,
  });
  keep('cli failure', stdout + stderr);
  return { code, stdout, stderr };
}

describe('a command that fails', () => {
  const servers: Server[] = [];
  let folder: string;
  const validity = {
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  };
  const authority = issueAuthority({ commonName: 'test CA', ...validity });

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-cli-failures-'));
    writeFileSync(path.join(folder, 'ca.crt'), authority.certificate);
  });
  after(() => rmSync(folder, { recursive: true }));
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  async function listen(server: Server): Promise<number> {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }
  const serve = async (handler: RequestListener) =>
    `http://127.0.0.1:${await listen(createServer(handler))}`;
  const serveTls = async (names: string[], period = validity) => {
    const leaf = issueCertificate({ commonName: 'broker', names, ...period }, authority);
    const handler: RequestListener = (_request, response) => response.end('{"items":[]}');
    const port = await listen(createTlsServer({ cert: leaf.certificate, key: leaf.key }, handler));
    return `https://127.0.0.1:${port}`;
  };
  const ca = () => ['--ca-file', path.join(folder, 'ca.crt')];

  const answers: readonly { status: number; reason: string; says: RegExp }[] = [
    {
      status: 400,
      reason: 'document_invalid',
      says: /^coatcheck role list: told \(document_invalid, correlation id 0b7c6f1e-\S+\)$/m,
    },
    {
      status: 401,
      reason: 'bearer_invalid',
      says: /: the broker does not accept the credential: told \(bearer_invalid, /,
    },
    {
      status: 403,
      reason: 'bearer_forbidden',
      says: /: not allowed; this needs the policy coatcheck:roles:read, or the Kubernetes right to list tokenroles in group auth\.example\.io: told /,
    },
    { status: 404, reason: 'not_found', says: /: not found: told \(not_found, / },
    { status: 409, reason: 'conflict', says: /: conflict: told \(conflict, / },
    { status: 412, reason: 'version_mismatch', says: /: conflict: told / },
    { status: 429, reason: 'too_many_requests', says: /: not at the moment: told / },
    {
      status: 503,
      reason: 'unavailable',
      says: /: not at the moment: told \(unavailable, correlation id /,
    },
  ];
  for (const { status, reason, says } of answers) {
    it(`says what a ${status} means, with reason and correlation id`, async () => {
      const server = await serve((_request, response) => {
        response
          .writeHead(status, { 'Content-Type': 'application/json' })
          .end(toError(reason, 'told'));
      });
      const said = await run(['role', 'list', '--server', server]);
      expect(said.stderr).to.match(says);
      expect(said).to.include({ code: 1, stdout: '' });
    });
  }

  it('lists what can be mended', async () => {
    const body = {
      ...JSON.parse(toError('document_invalid', 'told')),
      details: [
        { path: 'ttl', problem: 'must be a duration' },
        { path: '', problem: 'is odd' },
      ],
    };
    const server = await serve((_request, response) => {
      response.writeHead(400).end(JSON.stringify(body));
    });
    const { stderr } = await run(['role', 'list', '--server', server]);
    expect(stderr).to.contain('\n  - ttl: must be a duration\n  - is odd\n');
  });

  it('lets no answer write over the terminal, or show a token', async () => {
    const server = await serve((_request, response) => {
      response.writeHead(400).end(toError('x', `\u001b[2Jgone \u202e${TOKEN}`));
    });
    const { stderr } = await run(['role', 'list', '--server', server]);
    expect(stderr.replaceAll('\n', '')).not.to.match(/[\p{Cc}\p{Cf}]/u);
    expect(stderr).to.contain('[redacted]');
  });

  const odd: readonly { name: string; handler: RequestListener; says: string }[] = [
    {
      name: 'a page of somebody else',
      handler: (_q, r) => r.writeHead(502).end('<html>'),
      says: 'answers with status 502 and nothing that a broker says',
    },
    {
      name: 'a success that is no JSON',
      handler: (_q, r) => r.end('<html>'),
      says: 'answers with status 200 and nothing that a broker says',
    },
    {
      name: 'a connection that is cut',
      handler: (q) => q.socket.destroy(),
      says: 'cannot reach http://127.0.0.1:',
    },
  ];
  for (const { name, handler, says } of odd) {
    it(`says what it got instead of an answer: ${name}`, async () => {
      const said = await run(['whoami', '--server', await serve(handler)]);
      expect(said.stderr).to.contain(says);
      expect(said.code).to.equal(1);
    });
  }

  it('follows no redirect, wherever it leads', async () => {
    let asked = 0;
    const elsewhere = await serve((_request, response) => {
      asked += 1;
      response.end('{}');
    });
    const server = await serve((_request, response) => {
      response.writeHead(307, { Location: `${elsewhere}/api/v1/whoami` }).end();
    });
    const said = await run(['whoami', '--server', server]);
    expect(said.stderr).to.contain('redirects, which is not followed');
    expect({ code: said.code, asked }).to.deep.equal({ code: 1, asked: 0 });
  });

  it('says that nothing listens', async () => {
    const port = await listen(createServer());
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    const said = await run(['whoami', '--server', `http://127.0.0.1:${port}`]);
    expect(said.stderr).to.contain(`cannot reach http://127.0.0.1:${port}: nothing listens there`);
    expect(said.code).to.equal(1);
  });

  it('does not wait for ever', async () => {
    const server = await serve(() => undefined);
    const said = await run(['whoami', '--server', server, '--timeout-seconds', '1']);
    expect(said.stderr).to.contain('no answer within 1 s');
  });

  it('trusts the CA it is given and nothing else', async () => {
    const server = await serveTls(['127.0.0.1']);
    const trusted = await run(['role', 'list', '--server', server, ...ca()]);
    expect(trusted.code, trusted.stderr).to.equal(0);
    const said = await run(['role', 'list', '--server', server]);
    expect(said.stderr).to.contain('not trusted here; --ca-file names the CA');
    expect(said.code).to.equal(1);
  });

  it('holds the certificate against --tls-server-name, where the broker is reached by another name', async () => {
    const server = await serveTls(['broker.auth.svc']);
    const list = (name: string) =>
      run(['role', 'list', '--server', server, '--tls-server-name', name, ...ca()]);
    const right = await list('broker.auth.svc');
    expect(right.code, right.stderr).to.equal(0);
    for (const name of [
      'other.auth.svc',
      'auth.svc',
      '127.0.0.1',
      'broker.auth.svc.evil.example',
    ]) {
      const wrong = await list(name);
      expect(wrong.code, name).to.equal(1);
      expect(wrong.stderr).to.contain('its certificate is for other names');
    }
    const untrusted = await run([
      'role',
      'list',
      '--server',
      server,
      '--tls-server-name',
      'broker.auth.svc',
    ]);
    expect(untrusted.stderr).to.contain('not trusted here');
  });

  it('says that the certificate is for another name, or has expired', async () => {
    const named = await run([
      'role',
      'list',
      '--server',
      await serveTls(['other.example']),
      ...ca(),
    ]);
    expect(named.stderr).to.contain('its certificate is for other names');
    const ended = { notBefore: new Date(0), notAfter: new Date(1000) };
    const old = await run([
      'role',
      'list',
      '--server',
      await serveTls(['127.0.0.1'], ended),
      ...ca(),
    ]);
    expect(old.stderr).to.contain('its certificate has expired');
  });

  it('says that there is no TLS', async () => {
    const server = await serve((_request, response) => response.end());
    const said = await run(['role', 'list', '--server', server.replace('http:', 'https:')]);
    expect(said.stderr).to.contain('it does not speak TLS there');
  });

  const misused: readonly {
    name: string;
    args: readonly string[];
    environment?: Record<string, string>;
    says: string;
  }[] = [
    { name: 'no server and no credential', args: ['whoami'], environment: {}, says: '2 problems' },
    {
      name: 'a token as an argument',
      args: ['whoami', '--server', 'http://127.0.0.1:1', '--token', TOKEN],
      says: 'a token is never an argument',
    },
    {
      name: 'a token as an operand',
      args: ['whoami', '--server', 'http://127.0.0.1:1', TOKEN],
      says: 'takes flags only',
    },
    {
      name: 'plain HTTP to another machine',
      args: ['whoami', '--server', 'http://broker.example'],
      says: 'must be https',
    },
    {
      name: 'plain HTTP to a name that begins like this machine',
      args: ['whoami', '--server', 'http://localhost.evil.example'],
      says: 'must be https',
    },
    {
      name: 'a credential of two lines',
      args: ['whoami', '--server', 'http://127.0.0.1:1'],
      environment: { COATCHECK_TOKEN: `${TOKEN}\nx` },
      says: 'COATCHECK_TOKEN must hold one token',
    },
    {
      name: 'a token file that is not there',
      args: ['whoami', '--server', 'http://127.0.0.1:1', '--token-file', '/nowhere/t'],
      says: '--token-file cannot be read (ENOENT)',
    },
    {
      name: 'an operand too few',
      args: ['role', 'get', '--server', 'http://127.0.0.1:1'],
      says: 'it takes NAME',
    },
    {
      name: 'an output that does not exist',
      args: ['whoami', '--server', 'http://127.0.0.1:1', '-o', 'xml'],
      says: 'must be one of table, json, yaml',
    },
    {
      name: 'a file of roles that is no role',
      args: ['role', 'apply', '--server', 'http://127.0.0.1:1'],
      says: '-f is required',
    },
  ];
  for (const { name, args, environment, says } of misused) {
    it(`exits with 2 for ${name}, and quotes no value`, async () => {
      const said = await run(args, environment ? { environment } : {});
      expect(said.stderr).to.contain(says).and.not.to.contain(TOKEN);
      expect(said.code).to.equal(2);
    });
  }

  it('sends the credential of the file before that of the variable, and only as a header', async () => {
    const seen: string[] = [];
    const server = await serve((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      response.end('{"items":[]}');
    });
    writeFileSync(path.join(folder, 'token'), `${noteToken('from-the-file-0000000000')}\n`);
    await run(['role', 'list', '--server', server, '--token-file', path.join(folder, 'token')]);
    await run(['role', 'list', '--server', server]);
    expect(seen).to.deep.equal([
      'GET /api/v1/roles?limit=500 Bearer from-the-file-0000000000',
      `GET /api/v1/roles?limit=500 Bearer ${TOKEN}`,
    ]);
  });

  it('asks before it revokes in bulk, and does nothing where another name is typed', async () => {
    const seen: string[] = [];
    const server = await serve((request, response) => {
      seen.push(request.method ?? '');
      response.end(request.method === 'GET' ? '{"items":[{},{}]}' : '{"revoked":2}');
    });
    const args = ['token', 'revoke', '--role', 'payments', '--server', server];
    const questions: string[] = [];
    const answer = (text: string | undefined) => ({
      ask: (question: string) => {
        questions.push(question);
        return Promise.resolve(text);
      },
    });
    expect((await run(args, answer('yes'))).code).to.equal(1);
    expect((await run(args, answer(undefined))).code).to.equal(1);
    expect(seen).to.deep.equal(['GET', 'GET']);
    expect(questions[0]).to.match(
      /^2 live tokens of role payments end now.*\nType payments to go on: $/s,
    );
    const done = await run(args, answer(' payments\n'));
    expect(done).to.include({ code: 0 });
    expect(done.stdout).to.match(/^revoked\s+2$/m);
    expect(seen).to.deep.equal(['GET', 'GET', 'GET', 'POST']);
  });

  it('reads a list page by page', async () => {
    const seen: (string | undefined)[] = [];
    const server = await serve((request, response) => {
      seen.push(request.url);
      const isLast = request.url?.includes('after=');
      response.end(
        JSON.stringify({
          items: [{ id: isLast ? 'b' : 'a', methods: [], secrets: 1 }],
          ...(!isLast && { next: 'p/2' }),
        }),
      );
    });
    const said = await run(['client', 'list', '--server', server, '-o', 'json']);
    expect((JSON.parse(said.stdout) as { items: unknown[] }).items).to.have.lengthOf(2);
    expect(seen).to.deep.equal([
      '/api/v1/clients?limit=500',
      '/api/v1/clients?limit=500&after=p%2F2',
    ]);
  });
});
