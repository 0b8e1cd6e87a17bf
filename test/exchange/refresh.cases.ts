// Cases of the sidecar: renewal, outage, restart, end.
import { readFileSync, readlinkSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import type { TokenFileContent } from '../../common/protocol/pod.ts';
import { type Answer, issue, refuse } from './fake-broker.ts';
import { type Pod, until } from './pod.ts';
import type { Case } from './scenarios.ts';

const REFRESH = { COATCHECK_MODE: 'refresh' };
const TWO = JSON.stringify([
  { name: 'orders', audience: 'orders.api' },
  { name: 'billing', audience: 'billing.api' },
]);

function tokenOf(answer: Answer): string {
  return (answer.body as { access_token: string }).access_token;
}

const cases: readonly Case[] = [
  {
    title: 'renews at 60 to 75 % of the token’s life, with the identity file as it is then',
    run: async (pod, broker) => {
      broker.answer = () => issue({ expires_in: 6 });
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/next renewal planned/);
      const first = pod.read('orders', 'token');
      const startMs = Date.parse(pod.readJson('orders').expires_at) - 6_000;
      const identity = pod.writeIdentity('orders');
      await running.until(/token written/, 2);
      const renewal = broker.asked[1];
      expect((renewal?.atMs ?? 0) - startMs).to.be.within(3_599, 5_999);
      expect(renewal?.form.get('subject_token')).to.equal(identity);
      expect(pod.read('orders', 'token')).to.not.equal(first);
      expect(Date.parse(pod.readJson('orders').expires_at)).to.be.above(Date.now());
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title:
      'lets a reader in a tight loop never see half a token, or token and token.json of two generations',
    run: async (pod, broker) => {
      const issued = new Set<string>();
      broker.answer = () => {
        // Long enough that one write could be seen in two parts.
        const answer = issue({ expires_in: 1 }, 8_000);
        issued.add(tokenOf(answer));
        return answer;
      };
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/token written/);
      let reads = 0;
      let pairs = 0;
      const directory = pod.file('orders');
      const endMs = performance.now() + 20_000;
      while (issued.size < 6 && performance.now() < endMs) {
        for (let i = 0; i < 50; i++) {
          if (!issued.has(readFileSync(path.join(directory, 'token'), 'utf8')))
            throw new Error('half a token');
          reads += 1;
          if (isPairRight(directory)) pairs += 1;
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect((await running.stop()).code).to.equal(0);
      expect(issued.size).to.be.above(5);
      expect(reads).to.be.above(500);
      expect(pairs).to.be.above(500);
    },
  },
  {
    title: 'survives an outage longer than the token’s life, says so, and heals',
    run: async (pod, broker) => {
      let isAway = false;
      broker.answer = () =>
        isAway ? refuse('unavailable', { status: 503 }) : issue({ expires_in: 3 });
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/token written/);
      const old = pod.read('orders', 'token');
      isAway = true;
      await running.until(/the old token is still valid/);
      expect(pod.read('orders', 'token')).to.equal(old);
      await running.until(/the token has expired; still trying/);
      expect(running.process.exitCode).to.equal(null);
      isAway = false;
      await until(
        () => pod.read('orders', 'token') !== old,
        () => 'a new token',
      );
      expect(Date.parse(pod.readJson('orders').expires_at)).to.be.above(Date.now());
      expect(pod.termination()).to.equal(undefined);
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title: 'keeps running and keeps asking, slowly, where a renewal is refused for good',
    run: async (pod, broker) => {
      let isRefused = false;
      broker.answer = () => (isRefused ? refuse('token_issuer') : issue({ expires_in: 2 }));
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/token written/);
      isRefused = true;
      await running.until(/reason=token_issuer/, 2);
      isRefused = false;
      await running.until(/token written/, 2);
      expect(broker.asked.length).to.be.below(14);
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title: 'renews each audience on its own: one that is refused holds no other one up',
    run: async (pod, broker) => {
      const count = { 'orders.api': 0, 'billing.api': 0 };
      broker.answer = ({ form }) => {
        const audience = form.get('audience') as keyof typeof count;
        count[audience] += 1;
        return audience === 'billing.api' && count[audience] > 1
          ? refuse('no_role')
          : issue({ expires_in: 1 });
      };
      const running = pod.start(broker, { environment: { ...REFRESH, COATCHECK_AUDIENCES: TWO } });
      await until(
        () => count['orders.api'] > 4,
        () => 'renewals',
      );
      expect(count['billing.api']).to.be.below(count['orders.api']);
      // expires_at is rounded down to seconds, and these tokens live for one.
      expect(Date.parse(pod.readJson('orders').expires_at) + 1_000).to.be.above(Date.now());
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title: 'fails like init where the first exchange fails',
    run: async (pod, broker) => {
      broker.answer = () => refuse('token_issuer');
      expect((await pod.run(broker, { environment: REFRESH })).code).to.equal(1);
      expect(pod.termination()).to.include('reason token_issuer');
    },
  },
  {
    title: 'fetches nothing twice after the init container has run before it',
    run: async (pod, broker) => {
      expect((await pod.run(broker)).code).to.equal(0);
      const token = pod.read('orders', 'token');
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/next renewal planned/);
      expect(running.output()).to.include('keeping the token that is already there');
      expect(broker.asked).to.have.lengthOf(1);
      expect(pod.read('orders', 'token')).to.equal(token);
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title:
      'stays up after a restart while the broker is away and the old token lives, and renews when it is back',
    run: async (pod, broker) => {
      broker.answer = () => issue({ expires_in: 9 });
      const before = pod.start(broker, { environment: REFRESH });
      await before.until(/next renewal planned/);
      await before.stop('SIGKILL');
      const token = pod.read('orders', 'token');
      broker.answer = () => refuse('unavailable', { status: 503 });
      const after = pod.start(broker, {
        environment: { ...REFRESH, COATCHECK_DEADLINE_SECONDS: '1' },
      });
      await after.until(/reason=unavailable/);
      expect(pod.read('orders', 'token')).to.equal(token);
      broker.answer = () => issue();
      await until(
        () => pod.read('orders', 'token') !== token,
        () => 'a new token',
      );
      expect((await after.stop()).code).to.equal(0);
    },
  },
  {
    title:
      'renews at once, after a restart, a token that was written in the future: the clock was set back',
    run: async (pod, broker) => {
      expect((await pod.run(broker)).code).to.equal(0);
      const token = pod.read('orders', 'token');
      const inAnHour = new Date(Date.now() + 3_600_000);
      utimesSync(pod.file('orders', '..data', 'token.json'), inAnHour, inAnHour);
      const running = pod.start(broker, { environment: REFRESH });
      await running.until(/token written/);
      expect(pod.read('orders', 'token')).to.not.equal(token);
      expect(broker.asked).to.have.lengthOf(2);
      expect((await running.stop()).code).to.equal(0);
    },
  },
  {
    title: 'exchanges anew after a restart that finds only an expired token',
    run: async (pod, broker) => {
      broker.answer = () => issue({ expires_in: 1 });
      expect((await pod.run(broker)).code).to.equal(0);
      await until(
        () => Date.parse(pod.readJson('orders').expires_at) < Date.now(),
        () => 'the expiry',
      );
      broker.answer = () => refuse('token_issuer');
      expect((await pod.run(broker, { environment: REFRESH })).code).to.equal(1);
      expect(pod.termination()).to.include('reason token_issuer');
    },
  },
  {
    title: 'ends with 0 at once on SIGTERM, also in the middle of a request',
    run: async (pod, broker) => {
      broker.answer = ({ count }) => (count === 1 ? issue({ expires_in: 1 }) : { fault: 'silent' });
      const running = pod.start(broker, { environment: REFRESH });
      await until(
        () => broker.asked.length === 2,
        () => 'the renewal',
      );
      const startedMs = performance.now();
      const { code, output } = await running.stop();
      expect(code).to.equal(0);
      expect(performance.now() - startedMs).to.be.below(5_000);
      expect(output).to.include('stopped by a signal');
    },
  },
];

/** True where both files of one generation were read; false where it was swept away meanwhile. */
function isPairRight(directory: string): boolean {
  const data = path.join(directory, readlinkSync(path.join(directory, '..data')));
  let token: string;
  let json: TokenFileContent;
  try {
    token = readFileSync(path.join(data, 'token'), 'utf8');
    json = JSON.parse(readFileSync(path.join(data, 'token.json'), 'utf8')) as TokenFileContent;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  if (token !== json.access_token) throw new Error('token and token.json are of two generations');
  return true;
}

async function expectCheck(
  pod: Pod,
  code: number,
  said: RegExp | '',
  environment = {},
): Promise<void> {
  // Nothing listens there: the probe must not need the broker.
  const result = await pod.run({ url: 'https://127.0.0.1:9' }, { args: ['--check'], environment });
  expect(result.code).to.equal(code);
  if (said === '') expect(result.output).to.equal('');
  else expect(result.output).to.match(said);
}

const probe: readonly Case[] = [
  {
    title: 'says no before there is a token, yes while all live, and no again once one has expired',
    run: async (pod, broker) => {
      await expectCheck(pod, 1, /^no token for audience orders\.api yet\n$/);
      broker.answer = () => issue({ expires_in: 8 });
      expect((await pod.run(broker)).code).to.equal(0);
      await expectCheck(pod, 0, '');
      await expectCheck(pod, 1, /^no token for audience billing\.api yet\n$/, {
        COATCHECK_AUDIENCES: TWO,
      });
      await until(
        () => Date.parse(pod.readJson('orders').expires_at) < Date.now(),
        () => 'the expiry',
      );
      await expectCheck(pod, 1, /^the token for audience orders\.api has expired\n$/);
      expect(pod.termination()).to.equal(undefined);
    },
  },
  {
    title: 'says no to a token of another audience',
    run: async (pod, broker) => {
      expect((await pod.run(broker)).code).to.equal(0);
      await expectCheck(pod, 1, /orders\.other/, {
        COATCHECK_AUDIENCES: '[{"name":"orders","audience":"orders.other"}]',
      });
    },
  },
];

const settings: readonly Case[] = [
  {
    title:
      'ends with 2 on bad settings and tells all problems at once, by name and without a value',
    run: async (pod, broker) => {
      const { code, output } = await pod.run(broker, {
        args: ['--moed', 'init', 'operand'],
        environment: {
          COATCHECK_MODE: 'VALUE-1',
          COATCHECK_BROKER_URL: 'http://VALUE-2.example',
          COATCHECK_BROKER_CA: 'VALUE-3',
          COATCHECK_BROKER_CA_FILE: '/VALUE-4',
          COATCHECK_BROKER_FALLBACK_ADDRESS: 'VALUE-5',
          COATCHECK_AUDIENCES: '[{"name":"VALUE/6","audience":"a"}]',
          COATCHECK_DEADLINE_SECONDS: '601',
          COATCHECK_LOG_FROMAT: 'VALUE-7',
        },
      });
      expect(code).to.equal(2);
      const said = pod.termination() ?? '';
      for (const name of [
        '--moed is not a flag',
        'COATCHECK_MODE must be one of init, refresh',
        'COATCHECK_BROKER_URL must be an https URL',
        'COATCHECK_BROKER_CA must hold',
        'COATCHECK_BROKER_CA_FILE must not be set beside COATCHECK_BROKER_CA',
        'COATCHECK_BROKER_FALLBACK_ADDRESS must be an IP address',
        'COATCHECK_AUDIENCES item 1: "name" must be a DNS label',
        'COATCHECK_DEADLINE_SECONDS must be a whole number from 1 to 600',
        'did you mean COATCHECK_LOG_FORMAT?',
      ]) {
        expect(said).to.include(name);
        expect(output).to.include(name);
      }
      expect(said + output).to.not.include('VALUE');
      expect(broker.asked).to.have.lengthOf(0);
    },
  },
  {
    title: 'explains itself',
    run: async (pod, broker) => {
      const { code, output } = await pod.run(broker, { args: ['--help'] });
      expect(code).to.equal(0);
      expect(output).to.include('COATCHECK_BROKER_FALLBACK_ADDRESS').and.include('Exit codes');
    },
  },
];

export const refreshCases: readonly { group: string; cases: readonly Case[] }[] = [
  { group: 'refresh', cases },
  { group: '--check', cases: probe },
  { group: 'its settings', cases: settings },
];
