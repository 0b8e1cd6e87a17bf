// Cases of whom the exchange believes: certificates, the fallback address, the next CA bundle, and everything in the
// environment or the working directory that a runtime would let decide instead.
import { existsSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import { issueAuthority } from '../../common/certificates.ts';
import { sha256 } from './digest.ts';
import {
  authority,
  expiredAuthority,
  type FakeBroker,
  type FakeBrokerOptions,
  issue,
  otherAuthority,
  serverCertificate,
} from './fake-broker.ts';
import type { Pod, StartOptions } from './pod.ts';
import type { Case } from './scenarios.ts';

/** No resolver knows it (RFC 6761 §6.4). */
const NAME = 'broker.coatcheck.invalid';

function byName(broker: FakeBroker): { url: string } {
  return { url: `https://${NAME}:${broker.port}` };
}

function withFallback(broker: FakeBroker): StartOptions {
  return {
    environment: {
      COATCHECK_BROKER_FALLBACK_ADDRESS: `127.0.0.1:${broker.port}`,
    },
  };
}

/** Starts an exchange that must not send anything, lets it try, and ends it. */
async function expectRefused(
  pod: Pod,
  broker: FakeBroker,
  how: { url: string; options: StartOptions },
): Promise<void> {
  const running = pod.start({ url: how.url }, how.options);
  await running.until(/reason=(tls|network)/);
  expect((await running.stop()).code).to.equal(1);
  expect(broker.asked, 'requests that reached the server').to.have.lengthOf(0);
  expect(existsSync(pod.file('orders', 'token'))).to.equal(false);
}

const IMPOSTORS: readonly { title: string; options: (name: string) => FakeBrokerOptions }[] = [
  {
    title: 'a certificate of another CA',
    options: (name) => ({ certificate: serverCertificate({ names: [name], by: otherAuthority }) }),
  },
  {
    title: 'a certificate for another name',
    options: () => ({
      certificate: serverCertificate({ names: ['other.coatcheck.invalid', '127.0.0.2'] }),
    }),
  },
  {
    title: 'a certificate whose only name is the common name',
    options: () => ({ certificate: serverCertificate({ names: [] }) }),
  },
  {
    title: 'an expired certificate',
    options: (name) => ({ certificate: serverCertificate({ names: [name], isExpired: true }) }),
  },
  {
    title: 'a server that speaks TLS 1.1 at most',
    options: (name) => ({
      certificate: serverCertificate({ names: [name] }),
      // Without the security level OpenSSL would refuse to be that old.
      tls: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    }),
  },
];

const certificates: readonly Case[] = [
  {
    title: 'says in the termination message that the certificate was not accepted',
    broker: { certificate: serverCertificate({ by: otherAuthority }) },
    run: async (pod, broker) => {
      const environment = { COATCHECK_DEADLINE_SECONDS: '4' };
      expect((await pod.run(broker, { environment })).code).to.equal(1);
      expect(pod.termination()).to.include('reason tls').and.include('the configured CA');
    },
  },
  ...IMPOSTORS.map(
    ({ title, options }): Case => ({
      title: `sends nothing to ${title}`,
      broker: options('127.0.0.1'),
      run: (pod, broker) =>
        expectRefused(pod, broker, {
          url: broker.url,
          options: { environment: {} },
        }),
    }),
  ),
  {
    title: 'sends nothing to a server of our CA where no CA is configured',
    run: (pod, broker) =>
      expectRefused(pod, broker, {
        url: broker.url,
        options: {
          environment: { COATCHECK_BROKER_CA: undefined },
        },
      }),
  },
];

const fallback: readonly Case[] = [
  {
    title: 'dials the fallback address where DNS fails, and still asks for the broker’s name',
    broker: { certificate: serverCertificate({ names: [NAME] }) },
    run: async (pod, broker) => {
      const { code, output } = await pod.run(byName(broker), withFallback(broker));
      expect(code).to.equal(0);
      expect(output).to.include('dialling the fallback address');
      expect(broker.asked[0]?.serverName).to.equal(NAME);
      expect(broker.asked[0]?.headers.host).to.equal(`${NAME}:${broker.port}`);
    },
  },
  {
    title: 'fails without a fallback address where DNS fails',
    broker: { certificate: serverCertificate({ names: [NAME] }) },
    run: async (pod, broker) => {
      const { code } = await pod.run(byName(broker), {
        environment: { COATCHECK_DEADLINE_SECONDS: '4' },
      });
      expect(code).to.equal(1);
      expect(pod.termination()).to.include('reason dns').and.include('fallback address');
    },
  },
  ...IMPOSTORS.map(
    ({ title, options }): Case => ({
      title: `sends nothing to ${title} at the fallback address`,
      broker: options(NAME),
      run: (pod, broker) =>
        expectRefused(pod, broker, { ...byName(broker), options: withFallback(broker) }),
    }),
  ),
  {
    title:
      'sends nothing to the fallback address where its certificate is for that address and not for the name',
    broker: { certificate: serverCertificate({ names: ['127.0.0.1', 'localhost'] }) },
    run: (pod, broker) =>
      expectRefused(pod, broker, { ...byName(broker), options: withFallback(broker) }),
  },
  {
    title: 'goes the other way after a name that leads to nobody',
    run: async (pod, broker) => {
      // Nobody listens on 1, and nothing that starts meanwhile is given it, as a port that was just closed may be.
      const { code, output } = await pod.run({ url: 'https://localhost:1' }, withFallback(broker));
      expect(code).to.equal(0);
      expect(output).to.include('reason=network');
      expect(broker.asked[0]?.serverName).to.equal('localhost');
    },
  },
];

const next = issueAuthority({
  commonName: 'Next CA',
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 3_600_000),
});
const BUNDLE = `${next.certificate}${authority.certificate}`;

const bundles: readonly Case[] = [
  {
    title: 'trusts the next CA bundle from then on, writes it, and remembers it over a restart',
    run: async (pod, broker) => {
      broker.answer = () => issue({ ca_bundle: BUNDLE });
      expect((await pod.run(broker)).code).to.equal(0);
      expect(pod.read('ca.crt')).to.equal(BUNDLE);
      expect(pod.read('orders', 'ca.crt')).to.equal(BUNDLE);
      const { certificate, key } = serverCertificate({ by: next });
      (broker.server as unknown as { setSecureContext(tls: object): void }).setSecureContext({
        cert: certificate,
        key,
      });
      broker.answer = () => issue();
      expect((await pod.run(broker)).code).to.equal(0);
      expect(broker.asked[1]?.headers['coatcheck-ca-sha256']).to.equal(sha256(BUNDLE));
      expect(pod.read('ca.crt')).to.equal(BUNDLE);
    },
  },
  {
    title: 'uses a next CA bundle within the same process',
    run: async (pod, broker) => {
      broker.answer = () => issue({ ca_bundle: BUNDLE, expires_in: 1 });
      const running = pod.start(broker, { environment: { COATCHECK_MODE: 'refresh' } });
      await running.until(/trusting the CA bundle/);
      const { certificate, key } = serverCertificate({ by: next });
      (broker.server as unknown as { setSecureContext(tls: object): void }).setSecureContext({
        cert: certificate,
        key,
      });
      await running.until(/token written/, 3);
      expect(broker.asked.at(-1)?.headers['coatcheck-ca-sha256']).to.equal(sha256(BUNDLE));
      expect(running.output()).to.not.match(/reason=/);
      await running.stop();
    },
  },
  ...[
    { title: 'that is no PEM', bundle: 'trust me' },
    {
      title: 'with a certificate that cannot be parsed',
      bundle: `${authority.certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
    },
    { title: 'that holds a private key', bundle: `${next.certificate}${next.key}` },
    { title: 'that has expired whole', bundle: expiredAuthority.certificate },
    { title: 'longer than 64 KiB', bundle: next.certificate.repeat(120) },
    { title: 'that is no text', bundle: { pem: next.certificate } },
  ].map(
    ({ title, bundle }): Case => ({
      title: `keeps its CA and takes the token where the announced bundle is one ${title}`,
      run: async (pod, broker) => {
        broker.answer = () => issue({ ca_bundle: bundle });
        const { code, output } = await pod.run(broker);
        expect(code).to.equal(0);
        expect(output).to.include('keeping the one before');
        expect(pod.read('ca.crt')).to.equal(authority.certificate);
      },
    }),
  ),
  {
    title: 'takes no CA bundle from an answer that no CA verified',
    broker: { isPlain: true },
    run: async (pod, broker) => {
      broker.answer = () => issue({ ca_bundle: BUNDLE });
      expect((await pod.run(broker)).code).to.equal(0);
      expect(pod.read('ca.crt')).to.equal(authority.certificate);
    },
  },
];

/** A proxy that would say so, were it asked. */
async function withProxy(
  use: (url: string, connections: () => number) => Promise<void>,
): Promise<void> {
  let count = 0;
  const proxy = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  await use(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, () => count);
  await new Promise((resolve) => proxy.close(resolve));
}

const environment: readonly Case[] = [
  ...[true, false].map(
    (isPlain): Case => ({
      title: `asks no proxy that the environment names (${isPlain ? 'http' : 'https'})`,
      broker: { isPlain },
      run: (pod, broker) =>
        withProxy(async (proxy, connections) => {
          const names = [
            'HTTPS_PROXY',
            'HTTP_PROXY',
            'ALL_PROXY',
            'https_proxy',
            'http_proxy',
            'all_proxy',
          ];
          const variables = Object.fromEntries(names.map((name) => [name, proxy]));
          const { code } = await pod.run(broker, {
            environment: { ...variables, NODE_USE_ENV_PROXY: '1' },
          });
          expect(code).to.equal(0);
          expect(connections()).to.equal(0);
        }),
    }),
  ),
  {
    title: 'verifies the broker also where the environment says not to, and by no CA that it names',
    broker: { certificate: serverCertificate({ by: otherAuthority }) },
    run: async (pod, broker) => {
      const file = path.join(pod.folder, 'other.pem');
      writeFileSync(file, otherAuthority.certificate);
      const variables = {
        NODE_TLS_REJECT_UNAUTHORIZED: '0',
        NODE_EXTRA_CA_CERTS: file,
        SSL_CERT_FILE: file,
        NODE_USE_SYSTEM_CA: '1',
      };
      await expectRefused(pod, broker, { url: broker.url, options: { environment: variables } });
    },
  },
  {
    title: 'prints no request where the environment asks for it',
    run: async (pod, broker) => {
      const { code, output } = await pod.run(broker, {
        environment: { BUN_CONFIG_VERBOSE_FETCH: 'curl', NODE_DEBUG: 'http,https' },
      });
      expect(code).to.equal(0);
      expect(output).to.not.include('subject_token');
    },
  },
  {
    title: 'takes nothing from files in its working directory',
    run: async (pod, broker) => {
      writeFileSync(path.join(pod.folder, '.env'), 'COATCHECK_MODE=nonsense\nCOATCHECK_WHAT=1\n');
      writeFileSync(path.join(pod.folder, 'bunfig.toml'), 'preload = ["./preload.js"]\n');
      writeFileSync(path.join(pod.folder, 'preload.js'), 'console.log("PRELOADED");\n');
      const { code, output } = await pod.run(broker);
      expect(code).to.equal(0);
      expect(output).to.not.include('PRELOADED');
    },
  },
];

export const tlsCases: readonly { group: string; cases: readonly Case[] }[] = [
  { group: 'the broker’s certificate', cases: certificates },
  { group: 'the fallback address', cases: fallback },
  { group: 'the next CA bundle', cases: bundles },
  { group: 'the environment', cases: environment },
];
