import { expect } from 'chai';
import {
  flag,
  integer,
  json,
  list,
  listenAddress,
  oneOf,
  optional,
  path,
  readSettings,
  SettingsError,
  text,
  url,
} from '../../common/settings.ts';

const table = {
  brokerUrl: url({ doc: 'the broker', httpsOnly: true }),
  deadlineSeconds: integer({ doc: 'how long', min: 1, max: 600, default: 60 }),
  mode: oneOf({ doc: 'when', values: ['init', 'refresh'], default: 'init' }),
  names: list({ doc: 'names', default: [], pattern: /^[a-z]+$/, allowed: 'lower-case letters' }),
  check: flag({ doc: 'check', default: false, flagOnly: true }),
  caFile: optional(path({ doc: 'a file', absolute: true })),
};
const BROKER = 'https://broker.example';

function problemsOf(
  args: readonly string[],
  environment: Record<string, string> = {},
): readonly string[] {
  try {
    readSettings(table, { args, environment });
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('takes a flag before a variable before the default', () => {
    const { settings } = readSettings(table, {
      args: ['--mode', 'refresh'],
      environment: {
        COATCHECK_BROKER_URL: `${BROKER}/`,
        COATCHECK_MODE: 'init',
        COATCHECK_NAMES: 'a, b,',
      },
    });
    expect(settings).to.deep.equal({
      brokerUrl: BROKER,
      deadlineSeconds: 60,
      mode: 'refresh',
      names: ['a', 'b'],
      check: false,
      caFile: undefined,
    });
    expect(Object.isFrozen(settings)).to.equal(true);
  });

  for (const url of [
    ' https://broker',
    'https://broker ',
    'https://bro\tker',
    'https:\\\\broker',
    'https:broker',
    'https:/broker',
    'https://broker?',
    'https://broker#',
    'https://@broker',
    'https://user:hunter2@broker',
    'https://broker/?a',
    'http://broker',
    'broker',
  ]) {
    it(`refuses ${JSON.stringify(url)} as a URL: it would be read in two ways, or not at all`, () => {
      const [problem = ''] = problemsOf(['--broker-url', url]);
      expect(problem).to.match(/^--broker-url must be (a URL without|an absolute https URL)/);
      expect(problem).not.to.contain('hunter2');
    });
  }
  for (const url of ['https://broker:8443', 'HTTPS://Broker/a@b', 'https://[::1]/x']) {
    it(`takes ${url} as it is written`, () => {
      expect(readSettings(table, { args: ['--broker-url', url] }).settings.brokerUrl).to.equal(url);
    });
  }

  it('gives back arguments that are no flags, and everything after --', () => {
    const { operands, settings } = readSettings(table, {
      args: ['--broker-url', BROKER, 'a', '--check', 'b', '--', '--c'],
    });
    expect(operands).to.deep.equal(['a', 'b', '--c']);
    expect(settings.check).to.equal(true);
  });

  it('knows one-letter flags, takes a lone dash as an operand, and refuses unknown dashes', () => {
    const short = { file: path({ doc: 'f', short: 'f', flagOnly: true }) };
    const read = readSettings(short, { args: ['-f', '-', '-'] });
    expect([read.settings.file, read.operands]).to.deep.equal(['-', ['-']]);
    expect(() => readSettings(short, { args: ['-f', 'x', '-z'] })).to.throw(
      SettingsError,
      '-z is not a flag',
    );
  });

  it('tells every problem in one message and no value', () => {
    const problems = problemsOf(
      ['--mode', 'hunter2', '--deadline-seconds=hunter2', '--modee', 'x'],
      {
        COATCHECK_CA_FILE: 'hunter2',
        COATCHECK_NAMES: 'HUNTER2',
        COATCHECK_MOD: 'hunter2',
      },
    );
    expect(problems).to.deep.equal([
      '--modee is not a flag of this command; did you mean --mode?',
      'COATCHECK_MOD is not a setting of this process; did you mean COATCHECK_MODE?',
      'COATCHECK_BROKER_URL (or --broker-url) is required: the broker',
      '--deadline-seconds must be a whole number from 1 to 600',
      '--mode must be one of init, refresh',
      'COATCHECK_NAMES every item must be lower-case letters',
      'COATCHECK_CA_FILE must be an absolute path',
    ]);
    expect(problems.join().toLowerCase()).not.to.include('hunter2');
  });

  for (const [given, ok] of [
    ['1', true],
    ['600', true],
    ['0', false],
    ['601', false],
    ['1.5', false],
    ['1e2', false],
    [' 5', false],
    ['', true],
  ] as const) {
    it(`${ok ? 'takes' : 'refuses'} ${JSON.stringify(given)} as a whole number from 1 to 600`, () => {
      expect(
        problemsOf(['--broker-url', BROKER], { COATCHECK_DEADLINE_SECONDS: given }),
      ).to.have.length(ok ? 0 : 1);
    });
  }

  for (const [given, ok] of [
    ['https://a.b/c', true],
    ['http://a.b', false],
    ['https://u:p@a.b', false],
    ['https://a.b?x', false],
    ['https://a.b#x', false],
    ['a.b', false],
    ['ftp://a.b', false],
  ] as const) {
    it(`${ok ? 'takes' : 'refuses'} ${given} as an https URL`, () => {
      expect(problemsOf(['--broker-url', given])).to.have.length(ok ? 0 : 1);
    });
  }

  it('ignores the variables that the kubelet makes for Services, which may carry our name', () => {
    expect(
      problemsOf(['--broker-url', BROKER], {
        COATCHECK_BROKER_SERVICE_HOST: '10.0.0.1',
        COATCHECK_BROKER_SERVICE_PORT: '443',
        COATCHECK_BROKER_SERVICE_PORT_HTTPS: '443',
        COATCHECK_BROKER_PORT: 'tcp://10.0.0.1:443',
        COATCHECK_BROKER_PORT_443_TCP: 'tcp://…',
        COATCHECK_BROKER_PORT_443_TCP_ADDR: '10.0.0.1',
      }),
    ).to.deep.equal([]);
  });

  it('refuses a flag-only setting as a variable, and a flag without its value', () => {
    expect(problemsOf(['--broker-url', BROKER], { COATCHECK_CHECK: 'true' })).to.have.length(1);
    expect(problemsOf(['--broker-url'])).to.include('--broker-url needs a value');
  });

  for (const [given, expected] of [
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    [':8443', { host: '::', port: 8443 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['80', undefined],
    ['::1:80', undefined],
    ['a b:80', undefined],
    ['x:65536', undefined],
  ] as const) {
    it(`${expected ? 'reads' : 'refuses'} the listen address ${given}`, () => {
      const read = () =>
        readSettings({ listen: listenAddress({ doc: 'l' }) }, { args: ['--listen', given] })
          .settings.listen;
      if (expected) expect(read()).to.deep.equal(expected);
      else expect(read).to.throw(SettingsError);
    });
  }

  it('keeps the text of broken JSON out of its message', () => {
    const jsonTable = { audiences: json({ doc: 'a', check: (value) => value }) };
    expect(() => readSettings(jsonTable, { args: ['--audiences', '{"secret":hunter2'] })).to.throw(
      SettingsError,
      /must be valid JSON$/,
    );
  });

  it('lets a pattern bound a text', () => {
    const bounded = {
      name: text({ doc: 'n', pattern: /^[a-z]+$/, allowed: 'lower-case letters' }),
    };
    expect(readSettings(bounded, { args: ['--name', 'abc'] }).settings.name).to.equal('abc');
    expect(() => readSettings(bounded, { args: ['--name', 'ABC'] })).to.throw(
      SettingsError,
      /must be lower-case letters/,
    );
  });
});
