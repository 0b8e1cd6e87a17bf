import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { Registry } from 'prom-client';
import type { Clock } from '../../../common/clock.ts';
import { createKubeClient } from '../../../common/kube/client.ts';
import { createLogger } from '../../../common/log.ts';
import { openKeeper } from '../../../controller/certificates/open.ts';
import type { ObjectEvent } from '../../../controller/events.ts';
import { readControllerSettings } from '../../../controller/settings.ts';
import { keep } from '../../support/tokens.ts';
import { until } from '../harness.ts';
import { type CertificateApi, startCertificateApi } from './api.ts';
import { DAY_MS, splitPem, YEAR_MS } from './world.ts';

const START = Date.parse('2026-11-23T00:00:00Z');
const ALLOWED_MS = 5 * 60_000;

interface Kept {
  readonly events: ObjectEvent[];
  logs(): string;
  metrics(): Promise<string>;
  /** One look, and the wait for the next one. */
  look(): Promise<void>;
  wait(ms: number): void;
  stop(): Promise<void>;
}

describe('the keeper of certificates', () => {
  let api: CertificateApi;
  let started: Kept[] = [];
  beforeEach(async () => {
    api = await startCertificateApi();
    started = [];
  });
  afterEach(async () => {
    await Promise.all(started.map((one) => one.stop()));
    await api.close();
  });

  /** Time stands still but for `wait`; each look waits to be asked for. */
  const start = async (environment: Record<string, string> = {}): Promise<Kept> => {
    let now = START;
    let looks = 0;
    let go: (() => void) | undefined;
    const clock: Clock = {
      now: () => now,
      sleep: (_ms, signal) =>
        new Promise((resolve, reject) => {
          looks += 1;
          go = resolve;
          signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        }),
    };
    let text = '';
    const stream = { write: (line: string) => (text += line) };
    const log = createLogger({ level: 'debug', process: 'controller', stream });
    const registry = new Registry();
    const events: ObjectEvent[] = [];
    const settings = readControllerSettings({
      environment: {
        COATCHECK_BROKER_URL: 'https://c-broker.auth.svc',
        COATCHECK_NAMESPACE: 'auth',
        COATCHECK_CERTIFICATES_SECRET: 'c-certificates',
        COATCHECK_WEBHOOK_NAMES: 'c-webhook.auth.svc',
        COATCHECK_BROKER_NAMES: 'c-broker.auth.svc',
        COATCHECK_WEBHOOK_CONFIGURATION: 'c-webhook',
        COATCHECK_GENERATE_KEY: 'encryption',
        COATCHECK_CERTIFICATES_CA_FILE: path.join(api.folder, 'ca.crt'),
        ...environment,
      },
    });
    const client = createKubeClient({ url: api.url, caFile: '', tokenFile: api.tokenFile });
    const record = (event: ObjectEvent) => events.push(event) > 0;
    const around = { settings, client, events: { record }, registry, clock, wallClock: clock, log };
    const ending = new AbortController();
    const leading = openKeeper(around)?.lead(ending.signal);
    await leading?.prepared;
    const kept: Kept = {
      events,
      logs: () => text,
      metrics: () => registry.metrics(),
      look: async () => {
        const before = looks;
        go?.();
        await until(() => looks > before, 'a look');
      },
      wait: (ms) => {
        now += ms;
      },
      stop: async () => {
        ending.abort();
        await leading?.ended;
        client.close();
        keep('keeper.log', text);
      },
    };
    started.push(kept);
    await until(() => looks > 0, 'the first look');
    return kept;
  };
  const countOf = (what: string) => api.requests.filter((one) => one.startsWith(what)).length;
  const injected = () => Buffer.from(api.caBundle?.value ?? '', 'base64').toString();

  it('fills the empty Secret, keeps what else is on it, tells the API server and its own clients', async () => {
    const kept = await start();
    expect(Object.keys(api.secret?.data ?? {}).toSorted()).to.eql([
      'broker.crt',
      'broker.key',
      'ca-current.crt',
      'ca-current.key',
      'ca-former.json',
      'ca.crt',
      'encryption-key',
      'webhook.crt',
      'webhook.key',
    ]);
    expect(api.secret?.metadata).to.deep.include({
      labels: { app: 'c' },
      annotations: { 'helm.sh/resource-policy': 'keep' },
    });
    expect(Buffer.from(api.text('encryption-key'), 'base64')).to.have.length(32);
    expect(injected()).to.equal(api.text('ca.crt'));
    expect(readFileSync(path.join(api.folder, 'ca.crt'), 'utf8')).to.equal(api.text('ca.crt'));
    const [apply] = api.applied;
    expect(apply?.query).to.equal('?fieldManager=coatcheck-controller');
    expect(apply?.type).to.equal('application/apply-patch+yaml');
    const metrics = await kept.metrics();
    expect(metrics).to.match(/not_after_timestamp_seconds\{certificate="webhook"\} 1803\d{6}/);
    expect(metrics).to.include(
      'coatcheck_controller_ca_bundle_injected{configuration="c-webhook"} 1',
    );
    expect(metrics).to.include('certificate_renewals_total{certificate="broker"} 1');
    for (const secret of ['PRIVATE', api.text('encryption-key').trim()])
      expect(kept.logs()).to.not.include(secret);
  });

  it('writes nothing more while nothing is due, and states the bundle each minute', async () => {
    const kept = await start();
    for (const _ of [1, 2, 3]) {
      kept.wait(60_000);
      await kept.look();
    }
    expect(countOf('PUT')).to.equal(1);
    expect(api.applied).to.have.length(4);
  });

  it('goes on where another one stopped', async () => {
    await (await start()).stop();
    const before = api.secret;
    await start();
    expect(api.secret).to.eql(before);
    expect(countOf('PUT')).to.equal(1);
  });

  it('puts the bundle back where it was taken away', async () => {
    const kept = await start();
    api.caBundle = undefined;
    kept.wait(60_000);
    await kept.look();
    expect(injected()).to.equal(api.text('ca.crt'));
  });

  it('leaves a bundle that somebody else owns, and says whose it is once', async () => {
    api.caBundle = { value: 'b3RoZXI=', owner: 'cert-manager-cainjector' };
    const kept = await start();
    expect(injected()).to.equal('other');
    expect(kept.logs()).to.include('"owners":["cert-manager-cainjector"]');
    expect(kept.events.map(({ reason }) => reason)).to.eql(['CaBundleOwnedByOthers']);
    expect(kept.events[0]?.regarding).to.include({ kind: 'Secret', uid: 'uid-of-the-secret' });
    expect(await kept.metrics()).to.include(
      'coatcheck_controller_ca_bundle_injected{configuration="c-webhook"} 0',
    );
    const said = () => kept.logs().split('is owned by somebody else').length;
    const before = said();
    await kept.look();
    expect(said()).to.equal(before);
    // The near miss: the same bundle in somebody else's name is no conflict.
    api.caBundle = { value: Buffer.from(api.text('ca.crt')).toString('base64'), owner: 'x' };
    await kept.look();
    expect(await kept.metrics()).to.include(
      'coatcheck_controller_ca_bundle_injected{configuration="c-webhook"} 1',
    );
  });

  it('makes another authority on request, and takes the request away with the same write', async () => {
    const kept = await start();
    api.edit(({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, 'auth.example.io/rotate-ca': 'x' };
    });
    await kept.look();
    expect(api.secret?.metadata.annotations).to.eql({ 'helm.sh/resource-policy': 'keep' });
    expect(splitPem(injected())).to.have.length(2);
    kept.wait(DAY_MS + 1000);
    await kept.look();
    expect(api.text('ca-next.crt')).to.equal('');
    expect(splitPem(api.text('webhook.crt'))).to.have.length(2);
    expect(kept.events.map(({ reason }) => reason)).to.eql([
      'AuthorityPublished',
      'AuthoritySigns',
    ]);
  });

  it('says once that a request waits for the one before', async () => {
    const kept = await start();
    const ask = () =>
      api.edit(({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, 'auth.example.io/rotate-ca': 'x' };
      });
    ask();
    await kept.look();
    expect(kept.logs()).to.not.include('it waits');
    ask();
    await kept.look();
    await kept.look();
    expect(kept.logs().split('it waits').length).to.equal(2);
    expect(splitPem(injected())).to.have.length(2);
    kept.wait(DAY_MS + 1000);
    await kept.look();
    await kept.look();
    expect(splitPem(injected())).to.have.length(3);
    expect(api.secret?.metadata.annotations).to.eql({ 'helm.sh/resource-policy': 'keep' });
  });

  it('makes no registration where there is none: it went with the release', async () => {
    api.hasRegistration = false;
    const kept = await start();
    await kept.look();
    expect(kept.logs().split('cannot be told its bundle').length).to.equal(2);
    expect(await kept.metrics()).to.include('certificate_failures_total{step="inject"} 2');
    expect(api.text('webhook.crt')).to.include('BEGIN CERTIFICATE');
    api.hasRegistration = true;
    await kept.look();
    expect(injected()).to.equal(api.text('ca.crt'));
  });

  it('reads again where somebody wrote in between, and overwrites nothing of theirs', async () => {
    let times = 0;
    api.before = (request) => {
      if (request.startsWith('PUT') && times++ === 0)
        api.edit((secret) => {
          secret.data = { ...secret.data, mine: 'bWluZQ==' };
        });
      return undefined;
    };
    await start();
    expect(countOf('PUT')).to.equal(2);
    expect(api.secret?.data).to.include({ mine: 'bWluZQ==' });
    expect(api.text('ca.crt')).to.include('BEGIN CERTIFICATE');
  });

  it('never touches a key that it made, whatever became of it', async () => {
    const kept = await start();
    api.edit((secret) => {
      secret.data = { ...secret.data, 'encryption-key': 'aGFsZg==' };
    });
    await kept.look();
    expect(api.text('encryption-key')).to.equal('half');
  });

  it('says aloud that the authority was lost', async () => {
    const kept = await start();
    api.edit((secret) => {
      secret.data = { ...secret.data, 'ca-current.crt': 'eA==', 'ca-current.key': 'eA==' };
    });
    await kept.look();
    expect(kept.logs())
      .to.include('the authority was lost')
      .and.include('"object":"c-certificates"');
    expect(kept.events[0]).to.include({ type: 'Warning', reason: 'AuthorityLost' });
    expect(await kept.metrics()).to.include('certificate_failures_total{step="lost"} 1');
    expect(injected()).to.equal(api.text('ca.crt'));
  });

  for (const [what, failing, step] of [
    ['the Secret is not there', 'GET', 'read'],
    ['it may not write', 'PUT', 'write'],
  ] as const) {
    it(`says once that ${what}, and goes on when that is over`, async () => {
      api.before = (request) => (request.startsWith(failing) ? 403 : undefined);
      const kept = await start();
      await kept.look();
      expect(kept.logs().split(`"step":"${step}"`).length).to.equal(2);
      expect(await kept.metrics()).to.include(`certificate_failures_total{step="${step}"} 2`);
      api.before = undefined;
      await kept.look();
      expect(kept.logs()).to.include('certificates are kept again');
      expect(injected()).to.equal(api.text('ca.crt'));
    });
  }

  const stateOf = () => [api.secret, api.caBundle?.value];
  const differs = (kept: Kept) =>
    kept.logs().split("this clock and the API server's differ").length - 1;

  it('neither discards nor makes an authority with a clock past its end, and goes on when the clock is right', async () => {
    let right = START;
    api.time = () => right;
    const kept = await start();
    const before = stateOf();
    kept.wait(11 * YEAR_MS);
    await kept.look();
    await kept.look();
    expect(stateOf()).to.eql(before);
    expect(differs(kept)).to.equal(1);
    expect(kept.logs())
      .to.include('"here":"2037-11-20T00:00:00.000Z"')
      .and.include('"apiServer":"2026-11-23T00:00:00.000Z"');
    expect(await kept.metrics()).to.include('certificate_failures_total{step="clock"} 2');
    expect(kept.events.map(({ reason, type }) => [reason, type])).to.eql([
      ['ClockDiffers', 'Warning'],
    ]);
    kept.wait(-11 * YEAR_MS);
    await kept.look();
    expect(kept.logs()).to.include('certificates are kept again');
    expect(stateOf()).to.eql(before);
    // Both say that it is time: another authority is due, and this is no wrong clock.
    right += 7 * YEAR_MS;
    kept.wait(7 * YEAR_MS);
    await kept.look();
    expect(splitPem(injected())).to.have.length(2);
    expect(differs(kept)).to.equal(1);
  });

  for (const [what, offset] of [
    ['ahead', 11 * YEAR_MS],
    ['behind', -YEAR_MS],
  ] as const) {
    it(`makes no first authority with a clock that is ${what}, and makes it as soon as the clock is right`, async () => {
      api.time = () => START - offset;
      const kept = await start();
      expect(api.secret).to.not.have.property('data');
      expect(api.applied).to.eql([]);
      expect(differs(kept)).to.equal(1);
      kept.wait(-offset);
      await kept.look();
      const [authority] = splitPem(api.text('ca.crt'));
      expect(authority?.validFromDate.getTime()).to.be.within(
        START - offset - DAY_MS,
        START - offset,
      );
      expect(injected()).to.equal(api.text('ca.crt'));
    });
  }

  for (const [what, offset] of [
    ['ahead', ALLOWED_MS],
    ['behind', -ALLOWED_MS],
  ] as const) {
    it(`goes on with a clock that is five minutes ${what}, and not with one that is a second more`, async () => {
      let beyond = Math.sign(offset) * 1000;
      api.time = () => START - offset - beyond;
      const kept = await start();
      expect(countOf('PUT')).to.equal(0);
      beyond = 0;
      await kept.look();
      expect(countOf('PUT')).to.equal(1);
      expect(injected()).to.equal(api.text('ca.crt'));
    });
  }

  it('says anew that the clock differs where it was ahead and is behind, or was right meanwhile', async () => {
    let offset = DAY_MS;
    api.time = () => START - offset;
    const kept = await start();
    for (const [next, times] of [
      [2 * DAY_MS, 1],
      [-DAY_MS, 2],
      [0, 2],
      [-DAY_MS, 3],
    ] as const) {
      offset = next;
      await kept.look();
      expect(differs(kept), String(next)).to.equal(times);
    }
  });

  it('goes on where the API server says a time that is none, as where it says none', async () => {
    api.time = () => Number.NaN;
    const kept = await start();
    expect(countOf('PUT')).to.equal(1);
    expect(differs(kept)).to.equal(0);
  });

  it('goes on believing the broker with a clock that differs, by what stands in the Secret', async () => {
    await (await start()).stop();
    const file = path.join(api.folder, 'ca.crt');
    rmSync(file);
    api.time = () => START - DAY_MS;
    await start();
    expect(readFileSync(file, 'utf8')).to.equal(api.text('ca.crt'));
  });

  it('keeps the key alone where certificates are somebody else’s', async () => {
    // A key has no times.
    api.time = () => START - DAY_MS;
    await start({
      COATCHECK_WEBHOOK_NAMES: '',
      COATCHECK_BROKER_NAMES: '',
      COATCHECK_WEBHOOK_CONFIGURATION: '',
      COATCHECK_GENERATE_KEY: 'signing',
    });
    expect(Object.keys(api.secret?.data ?? {})).to.eql(['signing-key.pem']);
    expect(api.applied).to.eql([]);
  });

  it('shows the metrics that docs/certificates.md names, and no others', async () => {
    const page = path.join(import.meta.dirname, '../../../docs/certificates.md');
    const named = readFileSync(page, 'utf8').match(/coatcheck_controller_[a-z_]+/g) ?? [];
    const shown = (await (await start()).metrics()).matchAll(/^# TYPE (\S+)/gm);
    expect([...shown].map(([, name]) => name)).to.have.members([...new Set(named)]);
  });

  it('shows no certificates when it does not act any more', async () => {
    const kept = await start();
    await kept.stop();
    const metrics = await kept.metrics();
    expect(metrics).to.not.match(/not_after_timestamp_seconds\{/);
    expect(metrics).to.not.match(/ca_bundle_injected[{]/);
  });
});
