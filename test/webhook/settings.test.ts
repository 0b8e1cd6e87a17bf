// Bad configuration of the webhook: all problems in one message, no value in it, exit code 2, through a real process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { SettingsError } from '../../common/settings.ts';
import { parseBundle } from '../../exchange/trust.ts';
import { findBrokerCa } from '../../webhook/files.ts';
import { parseCpu, parseMemory } from '../../webhook/quantity.ts';
import { readWebhookSettings, toInjectSettings, WEBHOOK_TABLE } from '../../webhook/settings.ts';
import { keep } from '../support/tokens.ts';

const CLI = path.join(import.meta.dirname, '../../cli/main.ts');
const REQUIRED = {
  COATCHECK_BROKER_URL: 'https://broker.example.io',
  COATCHECK_IMAGE: 'registry.example.io/exchange:1',
  COATCHECK_TLS_CERT_FILE: '/tls/tls.crt',
  COATCHECK_TLS_KEY_FILE: '/tls/tls.key',
};

async function start(
  environment: Record<string, string>,
): Promise<{ code: number | null; stderr: string; stdout: string; stop: () => void }> {
  const child = spawn(process.execPath, [CLI, 'webhook'], {
    env: { PATH: process.env.PATH, ...environment },
  });
  let stderr = '';
  let stdout = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ready = new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      if (stdout.includes('webhook ready')) {
        child.kill('SIGTERM');
        resolve();
      }
    });
  });
  await Promise.race([once(child, 'close'), ready]);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  keep('webhook-process.log', stdout + stderr);
  return { code: child.exitCode, stderr, stdout, stop: () => child.kill() };
}

function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    readWebhookSettings({ environment: { ...REQUIRED, ...environment } });
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings of the webhook', () => {
  it('have safe defaults for everything but four', () => {
    const settings = readWebhookSettings({ environment: REQUIRED });
    expect(toInjectSettings(settings)).to.include({
      issuer: 'https://broker.example.io',
      prefix: 'auth.example.io/',
      defaultMode: 'auto',
    });
    const required = Object.entries(WEBHOOK_TABLE).filter(
      ([, one]) => one.default === undefined && !('optional' in one && one.optional),
    );
    expect(required.map(([name]) => name)).to.deep.equal([
      'brokerUrl',
      'image',
      'tlsCertFile',
      'tlsKeyFile',
    ]);
  });

  const refused: { name: string; given: Record<string, string>; expected: RegExp }[] = [
    {
      name: 'a prefix without a slash',
      given: { COATCHECK_PREFIX: 'hunter2' },
      expected: /PREFIX must be a DNS name and a slash/,
    },
    {
      name: 'a plain broker URL',
      given: { COATCHECK_BROKER_URL: 'http://hunter2.example.io' },
      expected: /BROKER_URL must be https/,
    },
    {
      name: 'a fallback that is a name',
      given: { COATCHECK_BROKER_FALLBACK_ADDRESS: 'hunter2:443' },
      expected: /must be an IP address/,
    },
    {
      name: 'a fallback without a usable port',
      given: { COATCHECK_BROKER_FALLBACK_ADDRESS: '10.0.0.1:0' },
      expected: /must be an IP address/,
    },
    {
      name: 'a command that is a string',
      given: { COATCHECK_EXCHANGE_COMMAND: '"hunter2"' },
      expected: /must be a JSON list/,
    },
    {
      name: 'a mount root that is relative',
      given: { COATCHECK_MOUNT_ROOT: 'hunter2' },
      expected: /MOUNT_ROOT must be an absolute path/,
    },
    {
      name: 'a mount root with detours',
      given: { COATCHECK_MOUNT_ROOT: '/var/run/../hunter2' },
      expected: /MOUNT_ROOT must be an absolute path/,
    },
    {
      name: 'a mount root over the identity',
      given: { COATCHECK_MOUNT_ROOT: '/var/run/coatcheck' },
      expected: /MOUNT_ROOT must be an absolute path/,
    },
    {
      name: 'a mount root in the default token',
      given: { COATCHECK_MOUNT_ROOT: '/var/run/secrets/kubernetes.io/serviceaccount/x' },
      expected: /MOUNT_ROOT must be an absolute path/,
    },
    {
      name: 'a lifetime below the least',
      given: { COATCHECK_TOKEN_EXPIRATION_SECONDS: '599' },
      expected: /from 600 to 86400/,
    },
    {
      name: 'a deadline above the most',
      given: { COATCHECK_DEADLINE_SECONDS: '601' },
      expected: /from 1 to 600/,
    },
    {
      name: 'a quantity of nothing',
      given: { COATCHECK_EXCHANGE_CPU_LIMIT: '0' },
      expected: /must be a CPU quantity/,
    },
    {
      name: 'a request above its limit',
      given: { COATCHECK_EXCHANGE_CPU_REQUEST: '2' },
      expected: /CPU_REQUEST must not be more than/,
    },
    {
      name: 'memory in decimal units',
      given: { COATCHECK_EXCHANGE_MEMORY_LIMIT: '128M' },
      expected: /must be a memory quantity/,
    },
    {
      name: 'a reserved audience that is none',
      given: { COATCHECK_RESERVED_AUDIENCES: 'hunter2 x' },
      expected: /every item must be 1 to 255/,
    },
    {
      name: 'annotations under our prefix',
      given: { COATCHECK_POD_ANNOTATIONS: '{"auth.example.io/hunter2":"x"}' },
      expected: /no annotation under our own prefix/,
    },
    {
      name: 'annotations that are no strings',
      given: { COATCHECK_POD_ANNOTATIONS: '{"hunter2":1}' },
      expected: /must be a JSON object/,
    },
    {
      name: 'a misspelt variable',
      given: { COATCHECK_BROKR_URL: 'hunter2' },
      expected: /COATCHECK_BROKR_URL is not a setting.*did you mean/,
    },
  ];
  for (const { name, given, expected } of refused) {
    it(`refuse ${name}, without the value`, () => {
      const problems = problemsOf(given);
      expect(problems).to.have.length(1);
      expect(problems[0])
        .to.match(expected)
        .and.not.include('hunter2.')
        .and.not.include('"hunter2');
    });
  }

  const allowed: Record<string, string>[] = [
    { COATCHECK_BROKER_URL: 'http://127.0.0.1:8420' },
    { COATCHECK_BROKER_FALLBACK_ADDRESS: '10.96.0.20' },
    { COATCHECK_BROKER_FALLBACK_ADDRESS: '[fd00::7]:8443' },
    { COATCHECK_MOUNT_ROOT: '/run/tokens' },
    { COATCHECK_POD_ANNOTATIONS: '{"traffic.sidecar.istio.io/excludeOutboundPorts":"8443"}' },
    { COATCHECK_SERVICE_PORT: 'tcp://10.0.0.1:443' },
  ];
  for (const given of allowed) {
    it(`allow ${JSON.stringify(given)}`, () => expect(problemsOf(given)).to.deep.equal([]));
  }

  it('bring quantities into the form in which the API server gives them back', () => {
    expect([parseCpu('1000m'), parseCpu('1500m'), parseCpu('2')]).to.deep.equal([
      '1',
      '1500m',
      '2',
    ]);
    expect([parseMemory('1024Mi'), parseMemory('1536Mi'), parseMemory('1048576Ki')]).to.deep.equal([
      '1Gi',
      '1536Mi',
      '1Gi',
    ]);
  });
});

describe('the words of the settings of the webhook', () => {
  for (const [name, { doc }] of Object.entries(WEBHOOK_TABLE)) {
    it(`begin with a capital letter and end without a stop for ${name}`, () =>
      expect(doc).to.match(/^[A-Z`].*[^.]$/));
  }
});

describe('the webhook process', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'webhook-process-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('tells every problem of its settings at once and exits with 2', async () => {
    const { code, stderr } = await start({
      COATCHECK_PREFIX: 'hunter2',
      COATCHECK_DEADLINE_SECONDS: 'hunter2',
      COATCHECK_NONSENSE: 'hunter2',
    });
    expect(code).to.equal(2);
    for (const name of [
      'PREFIX',
      'DEADLINE_SECONDS',
      'NONSENSE',
      'BROKER_URL',
      'IMAGE',
      'TLS_CERT_FILE',
      'TLS_KEY_FILE',
    ]) {
      expect(stderr).to.include(`COATCHECK_${name}`);
    }
    expect(stderr).to.include('7 problems').and.not.include('hunter2');
  });

  it('tells every file that is missing or unusable and exits with 2', async () => {
    writeFileSync(path.join(folder, 'not-pem'), 'hunter2');
    const { code, stderr } = await start({
      ...REQUIRED,
      COATCHECK_TLS_CERT_FILE: path.join(folder, 'not-pem'),
      COATCHECK_TLS_KEY_FILE: path.join(folder, 'not-pem'),
      COATCHECK_BROKER_CA_FILE: path.join(folder, 'missing'),
      COATCHECK_CLIENT_CA_FILE: path.join(folder, 'not-pem'),
    });
    expect(code).to.equal(2);
    expect(stderr).to.include('COATCHECK_TLS_CERT_FILE must hold PEM certificates');
    expect(stderr).to.include('COATCHECK_BROKER_CA_FILE cannot be read (ENOENT)');
    expect(stderr).to.include('COATCHECK_CLIENT_CA_FILE must hold PEM certificates');
    expect(stderr).to.not.include('hunter2');
  });

  it('takes a bundle of as many certificates as the exchange, and not one more', async () => {
    const validity = { notBefore: new Date('2020-01-01'), notAfter: new Date('2120-01-01') };
    const { certificate } = issueAuthority({ commonName: 'test', ...validity });
    const file = path.join(folder, 'bundle');
    for (const [count, expected] of [
      [16, []],
      [17, ['COATCHECK_BROKER_CA_FILE must hold at most 16 certificates']],
    ] as const) {
      const bundle = certificate.repeat(count);
      writeFileSync(file, bundle);
      const problems: string[] = [];
      await findBrokerCa(file, problems);
      expect(problems).to.deep.equal(expected);
      // What one program injects the other must take.
      if (problems.length === 0) expect(parseBundle(bundle)).to.have.lengthOf(count);
      else expect(() => parseBundle(bundle)).to.throw('at most 16');
    }
  });

  it('starts, says so, and ends with 0 on SIGTERM', async () => {
    const validity = { notBefore: new Date('2020-01-01'), notAfter: new Date('2120-01-01') };
    const authority = issueAuthority({ commonName: 'test', ...validity });
    const pair = issueCertificate(
      { commonName: 'webhook', names: ['localhost'], ...validity },
      authority,
    );
    writeFileSync(path.join(folder, 'tls.crt'), pair.certificate);
    writeFileSync(path.join(folder, 'tls.key'), pair.key);
    const { code, stdout } = await start({
      ...REQUIRED,
      COATCHECK_TLS_CERT_FILE: path.join(folder, 'tls.crt'),
      COATCHECK_TLS_KEY_FILE: path.join(folder, 'tls.key'),
      COATCHECK_LISTEN: '127.0.0.1:0',
      COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
    });
    expect(code).to.equal(0);
    expect(stdout).to.include('webhook ready').and.include('stopped');
  });
});
