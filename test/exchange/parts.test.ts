// The small parts in process: identity file, CA bundle, settings, termination message, files.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { TokenFileContent } from '../../common/protocol/pod.ts';
import { SettingsError } from '../../common/settings.ts';
import {
  createFailure,
  FAILURE_CODES,
  toNetworkFailure,
  toSafeText,
} from '../../exchange/failure.ts';
import { findToken, writeTokens } from '../../exchange/file.ts';
import { findServiceAccount, readIdentity } from '../../exchange/identity.ts';
import { EXCHANGE_SETTINGS, readExchangeSettings } from '../../exchange/settings.ts';
import { describeFailures, writeTermination } from '../../exchange/termination.ts';
import { parseBundle, toNextTrust } from '../../exchange/trust.ts';
import { keep } from '../support/tokens.ts';
import { authority, expiredAuthority, fakeJwt } from './fake-broker.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-parts-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('exchange identity', () => {
  it('names the ServiceAccount of a token', () => {
    const claims = { 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'web' } } };
    expect(findServiceAccount(fakeJwt(claims))).to.equal('shop/web');
  });
  for (const [title, token] of [
    ['no JWT', 'abc'],
    ['a JWT without the claim', fakeJwt({})],
    [
      'names that could break a line',
      fakeJwt({ 'kubernetes.io': { namespace: 'a\nb', serviceaccount: { name: 'web' } } }),
    ],
  ] as const) {
    it(`names nobody from ${title}`, () => expect(findServiceAccount(token)).to.equal(undefined));
  }
  for (const [title, content, problem] of [
    ['empty', '\n', 'is empty'],
    ['of two lines', 'a\nb', 'holds no token'],
    ['binary', '\u0000\u0001', 'holds no token'],
    ['too long', 'a'.repeat(70_000), 'holds no token'],
  ] as const) {
    it(`refuses a file that is ${title}`, () => {
      writeFileSync(path.join(folder, 'x'), content);
      expect(() => readIdentity(folder, 'x')).to.throw(problem);
    });
  }
});

describe('exchange CA bundle', () => {
  it('reads text around certificates', () => {
    expect(
      parseBundle(`# ours\n${authority.certificate}\n${expiredAuthority.certificate}`),
    ).to.have.lengthOf(2);
  });
  for (const [title, bundle, problem] of [
    ['nothing', '', 'must hold one or more'],
    ['a key', authority.key, 'must hold one or more'],
    ['too many certificates', authority.certificate.repeat(17), 'at most 16'],
  ] as const) {
    it(`refuses ${title}`, () => expect(() => parseBundle(bundle)).to.throw(problem));
  }
  it('takes a next bundle as long as one certificate in it is valid now, and not a moment longer', () => {
    const day = 86_400_000;
    expect(toNextTrust(authority.certificate, Date.now()).bundle).to.equal(authority.certificate);
    expect(() => toNextTrust(authority.certificate, Date.now() + 2 * day)).to.throw(
      'no certificate that is valid now',
    );
  });
});

describe('exchange settings', () => {
  const good = {
    COATCHECK_BROKER_URL: 'https://broker.example',
    COATCHECK_AUDIENCES: '[{"name":"orders","audience":"orders.api"}]',
  };
  const read = (environment: Record<string, string>) =>
    readExchangeSettings({ environment: { ...good, ...environment } });

  // 0: none given, and then that of the URL.
  for (const [given, expected] of [
    ['10.0.0.1', { host: '10.0.0.1', port: 0 }],
    ['10.0.0.1:8443', { host: '10.0.0.1', port: 8443 }],
    ['fd00::1', { host: 'fd00::1', port: 0 }],
    ['[fd00::1]:8443', { host: 'fd00::1', port: 8443 }],
  ] as const) {
    it(`takes the fallback address ${given}`, () => {
      expect(
        read({ COATCHECK_BROKER_FALLBACK_ADDRESS: given }).brokerFallbackAddress,
      ).to.deep.equal(expected);
    });
  }
  for (const given of [
    'broker.example',
    'broker.example:443',
    ':443',
    '10.0.0.1:0',
    '10.0.0.1:70000',
    '10.0.0.256',
  ]) {
    it(`refuses the fallback address ${given}`, () => {
      expect(() => read({ COATCHECK_BROKER_FALLBACK_ADDRESS: given })).to.throw(
        SettingsError,
        'FALLBACK_ADDRESS must be',
      );
    });
  }
  for (const given of ['http://localhost:1', 'http://127.0.0.1', 'http://[::1]:1/x']) {
    it(`takes ${given} without TLS`, () =>
      expect(read({ COATCHECK_BROKER_URL: given }).brokerUrl).to.equal(given));
  }
  for (const given of [
    'http://localhost.example',
    'http://10.0.0.1',
    'http://127.0.0.1.example',
    'ftp://x',
  ]) {
    it(`refuses ${given}`, () =>
      expect(() => read({ COATCHECK_BROKER_URL: given })).to.throw(SettingsError));
  }
  it('takes HTTP to another host only when told so aloud', () => {
    const environment = {
      COATCHECK_BROKER_URL: 'http://10.0.0.1',
      COATCHECK_INSECURE_PLAIN_HTTP: 'true',
    };
    expect(read(environment).brokerUrl).to.equal('http://10.0.0.1');
  });
  for (const [title, audiences, problem] of [
    ['no list', '{}', 'must be a JSON list of 1 to 8'],
    ['an empty list', '[]', 'must be a JSON list of 1 to 8'],
    [
      'nine',
      JSON.stringify(Array.from({ length: 9 }, (_, i) => ({ name: `a${i}`, audience: `a${i}` }))),
      'must be a JSON list of 1 to 8',
    ],
    [
      'a name with a slash',
      '[{"name":"../x","audience":"a"}]',
      'item 1: "name" must be a DNS label',
    ],
    ['an audience with a space', '[{"name":"a","audience":"a b"}]', 'item 1: "audience" must be'],
    ['an unknown member', '[{"name":"a","audience":"a","x":1}]', 'item 1: may hold only'],
    [
      'the same name twice',
      '[{"name":"a","audience":"a"},{"name":"a","audience":"b"}]',
      'same "name" twice',
    ],
    [
      'the same audience twice',
      '[{"name":"a","audience":"a"},{"name":"b","audience":"a"}]',
      'same "audience" twice',
    ],
    ['a role of the wrong type', '[{"name":"a","audience":"a","role":1}]', '"role" must be'],
    ['null', '[null]', 'item 1: must be an object'],
  ] as const) {
    it(`refuses ${title}`, () =>
      expect(() => read({ COATCHECK_AUDIENCES: audiences })).to.throw(SettingsError, problem));
  }
  it('does not read a CA file that is not there', () => {
    expect(() => read({ COATCHECK_BROKER_CA_FILE: path.join(folder, 'none') })).to.throw(
      SettingsError,
      'readable file (ENOENT)',
    );
  });
});

describe('exchange termination message', () => {
  const audience = { name: 'orders', audience: 'orders.api' };
  const failure = createFailure('timeout', 'the broker did not answer in time');

  it('leaves out what was only abandoned', () => {
    const one = { audience, failure, serviceAccount: undefined, tries: 1 };
    const other = { ...one, audience: { name: 'b', audience: 'billing.api' } };
    const message = describeFailures(
      [
        { ...one, why: 'abandoned' },
        { ...other, why: 'final' },
      ],
      60,
    );
    expect(message).to.include('billing.api').and.not.include('orders.api');
  });
  it('is cut to 4096 bytes at a whole character', () => {
    const file = path.join(folder, 'log');
    expect(writeTermination(file, `${'a'.repeat(4_095)}é`)).to.equal(true);
    expect(statSync(file).size).to.equal(4_095);
  });
  it('says where it cannot be written', () =>
    expect(writeTermination(path.join(folder, 'a/b'), 'x')).to.equal(false));
});

describe('exchange network failures', () => {
  for (const [code, expected] of [
    ['ENOTFOUND', 'dns'],
    ['EAI_AGAIN', 'dns'],
    ['ECONNREFUSED', 'network'],
    ['ConnectionRefused', 'network'],
    ['CERT_HAS_EXPIRED', 'tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'tls'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'tls'],
  ] as const) {
    it(`takes ${code} as ${expected}`, () => {
      expect(
        toNetworkFailure(Object.assign(new Error('secret words'), { code }), false),
      ).to.include({ code: expected });
    });
  }
  it('repeats no message of the runtime', () => {
    const failure = toNetworkFailure(
      Object.assign(new Error('secret words'), { code: 'a b' }),
      false,
    );
    keep('network-failure', JSON.stringify(failure));
    expect(JSON.stringify(failure)).to.not.include('secret').and.not.include('a b');
  });
  it('cleans the words of another server', () => {
    const token = fakeJwt({ sub: 'x' });
    const text = toSafeText(`a\r\nb ${token} ${'c'.repeat(1_000)}`) ?? '';
    keep('safe-text', text);
    expect(text)
      .to.match(/^a b \[redacted\] c+$/)
      .and.have.lengthOf(300);
  });
});

describe('exchange files', () => {
  const content: TokenFileContent = {
    access_token: 'not-a-token',
    token_type: 'Bearer',
    issued_token_type: 'x',
    expires_at: '2027-01-01T00:00:00.000Z',
    audience: 'orders.api',
    scope: '',
  };
  const options = () => ({
    root: path.join(folder, 'tokens'),
    bundle: undefined,
    nowMs: Date.parse('2026-11-22T12:34:56Z'),
  });

  it('names its data directory by the time, as the kubelet does', () => {
    writeTokens([{ name: 'orders', content }], options());
    expect(readdirSync(path.join(folder, 'tokens/orders')).sort()[0]).to.match(
      /^\.\.2026_11_22_12_34_56\./,
    );
    expect(findToken(options().root, 'orders')).to.deep.include({
      content,
      expiresMs: Date.parse('2027-01-01T00:00:00Z'),
    });
  });
  it('keeps the files before for whoever is on the way to them, and none that are older', () => {
    const directory = path.join(folder, 'tokens/orders');
    const seen: string[] = [];
    for (const minute of [0, 1, 2, 3]) {
      const nowMs = options().nowMs + minute * 60_000;
      writeTokens([{ name: 'orders', content }], { ...options(), nowMs });
      seen.push(readlinkSync(path.join(directory, '..data')));
      const kept = readdirSync(directory).filter((name) => name.startsWith('..2026'));
      expect(kept.sort()).to.deep.equal(seen.slice(-2).sort());
      for (const name of kept) expect(readdirSync(path.join(directory, name))).to.include('token');
    }
  });
  it('leaves the mode of a volume alone that the kubelet made wide enough', () => {
    mkdirSync(options().root);
    chmodSync(options().root, 0o2777);
    writeTokens([{ name: 'orders', content }], options());
    expect(statSync(options().root).mode & 0o7777).to.equal(0o2777);
  });
  it('opens a volume that is too narrow', () => {
    mkdirSync(options().root, { mode: 0o700 });
    writeTokens([{ name: 'orders', content }], options());
    expect(statSync(options().root).mode & 0o777).to.equal(0o755);
  });
  it('makes no token visible where one of several cannot be laid out', () => {
    mkdirSync(options().root);
    writeFileSync(path.join(options().root, 'billing'), '');
    const both = [
      { name: 'orders', content },
      { name: 'billing', content },
    ];
    expect(() => writeTokens(both, options())).to.throw();
    expect(readdirSync(path.join(options().root, 'orders'))).to.deep.equal([]);
  });
  for (const [title, break_] of [
    ['without a token.json', (data: string) => rmSync(path.join(data, 'token.json'))],
    ['whose token is empty', (data: string) => writeFileSync(path.join(data, 'token'), '')],
    ['whose files disagree', (data: string) => writeFileSync(path.join(data, 'token'), 'other')],
    [
      'whose token.json is no JSON',
      (data: string) => writeFileSync(path.join(data, 'token.json'), '{'),
    ],
  ] as const) {
    it(`finds no token in a directory ${title}`, () => {
      writeTokens([{ name: 'orders', content }], options());
      break_(path.join(options().root, 'orders/..data'));
      expect(findToken(options().root, 'orders')).to.equal(undefined);
    });
  }
  it('makes no token visible before the links by which the app finds it', () => {
    mkdirSync(path.join(options().root, 'orders/token/in-the-way'), { recursive: true });
    expect(() => writeTokens([{ name: 'orders', content }], options())).to.throw();
    // Killed between the two, a restart would keep a token that the app cannot find.
    expect(findToken(options().root, 'orders')).to.equal(undefined);
  });
  it('replaces whatever stands where its links belong', () => {
    mkdirSync(path.join(options().root, 'orders'), { recursive: true });
    symlinkSync('/nowhere', path.join(options().root, 'orders/token'));
    writeTokens([{ name: 'orders', content }], options());
    expect(existsSync(path.join(options().root, 'orders/token'))).to.equal(true);
  });
});

describe('the words of the settings of the exchange', () => {
  for (const [name, { doc }] of Object.entries(EXCHANGE_SETTINGS)) {
    it(`begin with a capital letter and end without a stop for ${name}`, () =>
      expect(doc).to.match(/^[A-Z`].*[^.]$/));
  }
});

describe('docs/exchange.md', () => {
  const page = readFileSync(path.join(import.meta.dirname, '../../docs/exchange.md'), 'utf8');
  for (const code of FAILURE_CODES) {
    it(`explains ${code}`, () => expect(page).to.match(new RegExp(`^\\|[^|]*\`${code}\``, 'm')));
  }
  it('explains every log line', () => {
    const sources = readdirSync(path.join(import.meta.dirname, '../../exchange'));
    const said = sources.flatMap((file) => {
      const source = readFileSync(path.join(import.meta.dirname, '../../exchange', file), 'utf8');
      return [...source.matchAll(/log\.(?:info|warn|error)\(\s*(["'])(.*?)\1/g)].map(
        (match) => match[2],
      );
    });
    expect(said.length).to.be.above(12);
    for (const message of said) expect(page).to.include(`| \`${message}\` |`);
  });
});
