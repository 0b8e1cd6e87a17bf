// Cases of the first exchange that end well, or badly for a reason the broker gives.
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { sha256 } from './digest.ts';
import { type Answer, authority, issue, refuse, startFakeBroker } from './fake-broker.ts';
import type { Pod } from './pod.ts';
import type { Case } from './scenarios.ts';

const TWO = JSON.stringify([
  { name: 'orders', audience: 'orders.api' },
  { name: 'billing', audience: 'https://billing.example/api', role: 'reader' },
]);

function mode(file: string): string {
  return (statSync(file).mode & 0o777).toString(8);
}

function expectNothingWritten(pod: Pod): void {
  expect(existsSync(pod.file('orders', 'token')), 'orders/token').to.equal(false);
  expect(existsSync(pod.file('billing', 'token')), 'billing/token').to.equal(false);
}

function inOrder(...answers: Answer[]): () => Answer {
  return () => answers.shift() ?? issue();
}

const success: readonly Case[] = [
  {
    title: 'writes the files of two audiences, readable by everyone under umask 077',
    run: async (pod, broker) => {
      const orders = pod.writeIdentity('orders');
      const billing = pod.writeIdentity('billing');
      const startedMs = Date.now();
      const { code } = await pod.run(broker, { environment: { COATCHECK_AUDIENCES: TWO } });
      expect(code).to.equal(0);
      for (const name of ['orders', 'billing']) {
        const directory = pod.file(name);
        expect(mode(directory)).to.equal('755');
        expect(mode(path.join(directory, '..data') + path.sep)).to.equal('755');
        for (const file of ['token', 'token.json', 'ca.crt'])
          expect(mode(path.join(directory, file))).to.equal('644');
        expect(readlinkSync(path.join(directory, 'token'))).to.equal('..data/token');
        expect(lstatSync(path.join(directory, '..data')).isSymbolicLink()).to.equal(true);
        expect(readdirSync(directory)).to.have.lengthOf(5);
        expect(pod.read(name, 'ca.crt')).to.equal(authority.certificate);
        const json = pod.readJson(name);
        expect(pod.read(name, 'token'))
          .to.match(/^[\x21-\x7e]+$/)
          .and.equal(json.access_token);
        expect(Object.keys(json)).to.have.members([
          'access_token',
          'token_type',
          'issued_token_type',
          'expires_at',
          'audience',
          'scope',
        ]);
        expect(json.token_type).to.equal('Bearer');
        expect(json.issued_token_type).to.equal('urn:ietf:params:oauth:token-type:access_token');
        expect(json.scope).to.equal('read write');
        expect(json.expires_at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        // Whole seconds, rounded down like the broker's `exp`: never later than that.
        const startedSeconds = Math.floor(startedMs / 1000) * 1000;
        const endMs = Date.parse(json.expires_at);
        expect(endMs % 1000).to.equal(0);
        expect(endMs).to.be.within(startedSeconds + 300_000, Date.now() + 300_000);
      }
      expect(pod.readJson('billing').audience).to.equal('https://billing.example/api');
      expect(mode(pod.tokens)).to.equal('755');
      expect(mode(pod.file('ca.crt'))).to.equal('644');
      expect(pod.read('ca.crt')).to.equal(authority.certificate);
      expect(pod.termination()).to.equal(undefined);
      const forms = new Map(
        broker.asked.map(({ form }) => [form.get('audience'), Object.fromEntries(form)]),
      );
      const common = {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      };
      expect(forms.get('orders.api')).to.deep.equal({
        ...common,
        subject_token: orders,
        audience: 'orders.api',
      });
      expect(forms.get('https://billing.example/api')).to.deep.equal({
        ...common,
        subject_token: billing,
        audience: 'https://billing.example/api',
        role: 'reader',
      });
      for (const { headers, path: asked } of broker.asked) {
        expect(asked).to.equal('/oauth2/token');
        expect(headers['content-type']).to.equal('application/x-www-form-urlencoded');
        expect(headers['coatcheck-ca-sha256']).to.equal(sha256(authority.certificate));
        expect(headers.host).to.equal(`127.0.0.1:${broker.port}`);
      }
    },
  },
  {
    title: 'reaches the broker by name, takes the CA from a file, and keeps a path of the URL',
    run: async (pod, broker) => {
      writeFileSync(path.join(pod.folder, 'ca.pem'), authority.certificate);
      const { code } = await pod.run(
        { url: `https://localhost:${broker.port}/behind/proxy/` },
        {
          environment: {
            COATCHECK_BROKER_CA: undefined,
            COATCHECK_BROKER_CA_FILE: path.join(pod.folder, 'ca.pem'),
          },
        },
      );
      expect(code).to.equal(0);
      expect(broker.asked[0]?.path).to.equal('/behind/proxy/oauth2/token');
      expect(broker.asked[0]?.serverName).to.equal('localhost');
      expect(broker.asked[0]?.headers.host).to.equal(`localhost:${broker.port}`);
    },
  },
  {
    title: 'works over plain HTTP on this host, without a ca.crt',
    broker: { isPlain: true },
    run: async (pod, broker) => {
      const { code } = await pod.run(broker, { environment: { COATCHECK_BROKER_CA: undefined } });
      expect(code).to.equal(0);
      expect(existsSync(pod.file('ca.crt'))).to.equal(false);
      expect(broker.asked[0]?.headers['coatcheck-ca-sha256']).to.equal(undefined);
    },
  },
  {
    title: 'logs a line per step as JSON when asked to',
    run: async (pod, broker) => {
      const { output } = await pod.run(broker, { environment: { COATCHECK_LOG_FORMAT: 'json' } });
      const lines = output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines.map((line) => line.msg)).to.deep.equal([
        'exchange started',
        'asking the broker for a token',
        'token written',
      ]);
      expect(lines[2]).to.include({
        level: 'info',
        process: 'exchange',
        audience: 'orders.api',
        path: pod.file('orders', 'token'),
      });
    },
  },
  {
    title:
      'exchanges again in a pod whose init container runs a second time, and sweeps what a crash left',
    run: async (pod, broker) => {
      expect((await pod.run(broker)).code).to.equal(0);
      const first = pod.read('orders', 'token');
      const before = readlinkSync(pod.file('orders', '..data'));
      mkdirSync(pod.file('orders', '..2026_01_01_00_00_00.left'));
      symlinkSync('nowhere', pod.file('orders', '..data..tmp'));
      expect((await pod.run(broker)).code).to.equal(0);
      expect(pod.read('orders', 'token')).to.not.equal(first);
      // The files before stay for whoever is on the way to them; what was left does not.
      expect(
        readdirSync(pod.file('orders')).filter((name) => name.startsWith('..')),
      ).to.have.members(['..data', before, readlinkSync(pod.file('orders', '..data'))]);
    },
  },
];

const retries: readonly Case[] = [
  {
    title: 'tries again after 503 and after a connection that is cut in the middle of an answer',
    run: async (pod, broker) => {
      broker.answer = inOrder(refuse('unavailable', { status: 503 }), { ...issue(), fault: 'cut' });
      const { code, output } = await pod.run(broker);
      expect(code).to.equal(0);
      expect(broker.asked).to.have.lengthOf(3);
      expect(output)
        .to.include('no token yet; trying again')
        .and.include('reason=unavailable')
        .and.include('reason=network');
    },
  },
  {
    title: 'waits as long as Retry-After says in seconds, and then a little',
    run: async (pod, broker) => {
      broker.answer = inOrder({
        ...refuse('too_many_requests', { status: 429 }),
        headers: { 'Retry-After': '2' },
      });
      expect((await pod.run(broker)).code).to.equal(0);
      const [first, second] = broker.asked;
      expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).to.be.within(1_990, 12_000);
    },
  },
  {
    title: 'waits until the date that Retry-After says',
    run: async (pod, broker) => {
      const atMs = Math.ceil(Date.now() / 1000) * 1000 + 2_000;
      broker.answer = inOrder({
        status: 503,
        headers: { 'Retry-After': new Date(atMs).toUTCString() },
      });
      expect((await pod.run(broker)).code).to.equal(0);
      expect(broker.asked[1]?.atMs).to.be.within(atMs - 20, atMs + 10_000);
    },
  },
  {
    title: 'makes a last try before the deadline where Retry-After lies beyond it',
    run: async (pod, broker) => {
      broker.answer = inOrder({ status: 503, headers: { 'Retry-After': '3600' } });
      const { code } = await pod.run(broker, {
        environment: { COATCHECK_DEADLINE_SECONDS: '3' },
      });
      expect(code).to.equal(0);
      const [first, second] = broker.asked;
      expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).to.be.within(1_000, 3_000);
    },
  },
  {
    title: 'tries again while nothing listens, until the broker is there',
    run: async (pod, broker) => {
      await broker.close();
      const running = pod.start(broker);
      await running.until(/reason=network/);
      const later = await startFakeBroker({ port: broker.port });
      const { code } = await running.ended;
      await later.close();
      expect(code).to.equal(0);
    },
  },
  {
    title: 'gives up on a request that is never answered and makes another one',
    run: async (pod, broker) => {
      broker.answer = inOrder({ fault: 'silent' });
      const { code, output } = await pod.run(broker, {
        environment: { COATCHECK_TRY_TIMEOUT_SECONDS: '1' },
      });
      expect(code).to.equal(0);
      expect(output).to.include('reason=timeout');
    },
  },
  {
    title:
      'tries again slowly without a role, with the token as it lies there then, and succeeds once there is one',
    run: async (pod, broker) => {
      const first = pod.writeIdentity('orders');
      let second = '';
      broker.answer = inOrder(refuse('no_role'));
      const running = pod.start(broker);
      await running.until(/reason=no_role/);
      second = pod.writeIdentity('orders');
      expect((await running.ended).code).to.equal(0);
      expect(broker.asked.map(({ form }) => form.get('subject_token'))).to.deep.equal([
        first,
        second,
      ]);
      expect((broker.asked[1]?.atMs ?? 0) - (broker.asked[0]?.atMs ?? 0)).to.be.at.least(1_990);
    },
  },
  ...['token_not_yet_valid', 'token_signature', 'token_expired'].map(
    (reason): Case => ({
      title: `tries again slowly after ${reason}`,
      run: async (pod, broker) => {
        broker.answer = inOrder(refuse(reason));
        expect((await pod.run(broker)).code).to.equal(0);
        expect((broker.asked[1]?.atMs ?? 0) - (broker.asked[0]?.atMs ?? 0)).to.be.at.least(1_990);
      },
    }),
  ),
  {
    title: 'waits for an identity file that is not there yet',
    run: async (pod, broker) => {
      const running = pod.start(broker, {
        environment: { COATCHECK_AUDIENCES: '[{"name":"late","audience":"late.api"}]' },
      });
      await running.until(/reason=identity_unreadable/);
      pod.writeIdentity('late');
      expect((await running.ended).code).to.equal(0);
    },
  },
];

const FINAL: readonly { title: string; answer: Answer; reason: string }[] = [
  ...[
    'token_issuer',
    'token_audience',
    'token_malformed',
    'token_unbound',
    'parameter_missing',
    'body_invalid',
  ].map((reason) => ({ title: reason, answer: refuse(reason), reason })),
  {
    title: 'target_refused',
    answer: refuse('target_refused', { error: 'invalid_target' }),
    reason: 'target_refused',
  },
  {
    title: 'scope_refused',
    answer: refuse('scope_refused', { error: 'invalid_scope' }),
    reason: 'scope_refused',
  },
  {
    title: 'client_unauthenticated',
    answer: refuse('client_unauthenticated', { status: 401 }),
    reason: 'client_unauthenticated',
  },
  {
    title: 'a reason nobody knows yet',
    answer: refuse('moon_phase', { status: 403 }),
    reason: 'moon_phase',
  },
  {
    title: 'a 404 that is not the broker’s',
    answer: { status: 404, body: '<html>' },
    reason: 'http_404',
  },
  {
    title: 'an answer of 256 KiB and more',
    answer: issue({ padding: 'x'.repeat(300_000) }),
    reason: 'answer_too_long',
  },
  { title: 'an answer that is no JSON', answer: { body: 'eyJ no' }, reason: 'answer_invalid' },
  { title: 'an answer that is a JSON list', answer: { body: [] }, reason: 'answer_invalid' },
  { title: 'a status of 204', answer: { status: 204 }, reason: 'answer_invalid' },
  {
    title: 'a token type that is not Bearer',
    answer: issue({ token_type: 'DPoP' }),
    reason: 'answer_invalid',
  },
  {
    title: 'a token with a line break',
    answer: issue({ access_token: 'abc\ndef' }),
    reason: 'answer_invalid',
  },
  { title: 'an empty token', answer: issue({ access_token: '' }), reason: 'answer_invalid' },
  { title: 'a life of zero seconds', answer: issue({ expires_in: 0 }), reason: 'answer_invalid' },
  { title: 'a life that is text', answer: issue({ expires_in: '300' }), reason: 'answer_invalid' },
];

const refusals: readonly Case[] = [
  ...FINAL.map(
    ({ title, answer, reason }): Case => ({
      title: `stops at once on ${title}`,
      run: async (pod, broker) => {
        broker.answer = () => answer;
        const { code, output } = await pod.run(broker);
        expect(code).to.equal(1);
        expect(broker.asked).to.have.lengthOf(1);
        expectNothingWritten(pod);
        expect(output).to.include(`reason=${reason}`).and.include('giving up');
        expect(pod.termination()).to.include(`reason ${reason}`).and.include('What to do: ');
      },
    }),
  ),
  {
    title: 'stops on a broker that gives the ServiceAccount token itself back',
    run: async (pod, broker) => {
      broker.answer = ({ form }) => issue({ access_token: form.get('subject_token') });
      expect((await pod.run(broker)).code).to.equal(1);
      expectNothingWritten(pod);
    },
  },
  ...[301, 302, 307, 308].map(
    (status): Case => ({
      title: `does not follow a redirect (${status})`,
      run: async (pod, broker) => {
        broker.answer = () => ({ status, headers: { Location: `${broker.url}/elsewhere` } });
        expect((await pod.run(broker)).code).to.equal(1);
        expect(broker.asked.map((asked) => asked.path)).to.deep.equal(['/oauth2/token']);
        expect(pod.termination()).to.include('reason redirect');
      },
    }),
  ),
  {
    title: 'says in the termination message who has no token, why, and what to do',
    run: async (pod, broker) => {
      broker.answer = () =>
        refuse('no_role', { text: 'no role grants this identity a token for this audience' });
      const { code, ms } = await pod.run(broker, {
        environment: { COATCHECK_DEADLINE_SECONDS: '3' },
      });
      expect(code).to.equal(1);
      expect(ms).to.be.within(2_000, 12_000);
      expect(pod.termination()).to.match(
        /^coatcheck: no token for audience orders\.api for ServiceAccount shop\/web within 3 s \(\d tr(y|ies)\): no role grants this identity a token for this audience \(reason no_role, status 400, correlation id corr-0123456789\)\. What to do: apply a TokenRole/,
      );
      expectNothingWritten(pod);
    },
  },
  {
    title: 'keeps the deadline while the broker is silent',
    run: async (pod, broker) => {
      broker.answer = () => ({ fault: 'silent' });
      const { code, ms } = await pod.run(broker, {
        environment: { COATCHECK_DEADLINE_SECONDS: '2' },
      });
      expect(code).to.equal(1);
      expect(ms).to.be.within(1_900, 10_000);
      expect(pod.termination()).to.include('within 2 s').and.include('reason timeout');
    },
  },
  {
    title: 'writes nothing for one audience where another is refused for good',
    run: async (pod, broker) => {
      broker.answer = ({ form }) =>
        form.get('role') === 'reader' ? refuse('token_issuer') : issue();
      expect((await pod.run(broker, { environment: { COATCHECK_AUDIENCES: TWO } })).code).to.equal(
        1,
      );
      expectNothingWritten(pod);
      expect(pod.termination())
        .to.include('https://billing.example/api with role reader')
        .and.not.include('orders.api');
    },
  },
  {
    title: 'writes nothing for one audience where another has no token by the deadline',
    run: async (pod, broker) => {
      broker.answer = ({ form }) =>
        form.get('role') === 'reader' ? refuse('unavailable', { status: 503 }) : issue();
      const environment = { COATCHECK_AUDIENCES: TWO, COATCHECK_DEADLINE_SECONDS: '2' };
      expect((await pod.run(broker, { environment })).code).to.equal(1);
      expectNothingWritten(pod);
    },
  },
  {
    title: 'repeats nothing that looks like a token from the broker’s own words',
    run: async (pod, broker) => {
      broker.answer = ({ form }) =>
        refuse('token_issuer', {
          text: `bad\n\u001b[31mtoken ${form.get('subject_token')} and cc_${'a'.repeat(40)}`,
        });
      const { output } = await pod.run(broker);
      const said = `${output}${pod.termination()}`;
      expect(said)
        .to.include('bad [31mtoken [redacted] and [redacted]')
        .and.not.include('cc_aaaa')
        .and.not.include('\u001b');
    },
  },
  {
    title: 'says so where the files cannot be written',
    run: async (pod, broker) => {
      writeFileSync(pod.tokens, '');
      expect((await pod.run(broker)).code).to.equal(1);
      expect(pod.termination()).to.include('could not be written').and.include('coatcheck-tokens');
    },
  },
  {
    title: 'ends with 1 and without files when it is told to stop before it has a token',
    run: async (pod, broker) => {
      broker.answer = () => ({ fault: 'silent' });
      const running = pod.start(broker);
      await running.until(/asking the broker/);
      const startedMs = performance.now();
      expect((await running.stop('SIGTERM')).code).to.equal(1);
      expect(performance.now() - startedMs).to.be.below(5_000);
      expectNothingWritten(pod);
    },
  },
];

export const initCases: readonly { group: string; cases: readonly Case[] }[] = [
  { group: 'a first exchange', cases: success },
  { group: 'what can pass', cases: retries },
  { group: 'what cannot', cases: refusals },
];
