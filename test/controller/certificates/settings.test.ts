import { expect } from 'chai';
import { toPause } from '../../../controller/certificates/keeper.ts';
import { toPolicy } from '../../../controller/certificates/settings.ts';
import { readControllerSettings } from '../../../controller/settings.ts';
import { DAY_MS, POLICY } from './world.ts';

const SECRET = { COATCHECK_CERTIFICATES_SECRET: 'c-certificates' };
const read = (environment: Record<string, string>) =>
  readControllerSettings({
    environment: {
      COATCHECK_BROKER_URL: 'https://c-broker.auth.svc',
      COATCHECK_NAMESPACE: 'auth',
      ...environment,
    },
  });

describe('settings of certificates', () => {
  it('keep nothing unless they say so', () => {
    expect(read({})).to.deep.include({
      certificatesSecret: undefined,
      webhookNames: [],
      brokerNames: [],
      webhookConfiguration: undefined,
      generateKey: 'none',
    });
  });

  it('are ten years, ninety days and one day; only what has names gets a certificate', () => {
    const settings = read({ ...SECRET, COATCHECK_BROKER_NAMES: 'c-broker.auth.svc,10.0.0.7' });
    const { leaves, ...times } = toPolicy(settings, 'x');
    expect(leaves).to.eql([{ part: 'broker', names: ['c-broker.auth.svc', '10.0.0.7'] }]);
    expect(times).to.include({
      caLifetimeMs: 3650 * DAY_MS,
      leafLifetimeMs: 90 * DAY_MS,
      publishMs: DAY_MS,
    });
  });

  it('have the Secret looked at each minute, and more often where certificates live for minutes', () => {
    expect(toPause(POLICY)).to.equal(60_000);
    expect(toPause({ ...POLICY, publishMs: 15_000 })).to.equal(1500);
    expect(toPause({ ...POLICY, publishMs: 5000 })).to.equal(1000);
  });

  for (const [what, environment, says] of [
    [
      'names without a Secret',
      { COATCHECK_BROKER_NAMES: 'a.b.svc' },
      'CERTIFICATES_SECRET must be',
    ],
    [
      'a key without a Secret',
      { COATCHECK_GENERATE_KEY: 'signing' },
      'CERTIFICATES_SECRET must be',
    ],
    [
      'a registration without names of the webhook',
      { ...SECRET, COATCHECK_WEBHOOK_CONFIGURATION: 'c-webhook' },
      'COATCHECK_WEBHOOK_NAMES must be set',
    ],
    [
      'an authority that ends before its successor is known',
      { ...SECRET, COATCHECK_CA_LIFETIME_SECONDS: '31449599' },
      'must be at least four times',
    ],
    [
      'a name that is none',
      { ...SECRET, COATCHECK_BROKER_NAMES: 'a b' },
      'a DNS name or an address',
    ],
    [
      'a name with an empty label',
      { ...SECRET, COATCHECK_WEBHOOK_NAMES: 'a.svc,a..b' },
      'a DNS name or an address',
    ],
    [
      'what is neither an address nor a name',
      { ...SECRET, COATCHECK_BROKER_NAMES: '1.2.3' },
      'a DNS name or an address',
    ],
    [
      'an address that is none',
      { ...SECRET, COATCHECK_BROKER_NAMES: '10.0.0.256' },
      'a DNS name or an address',
    ],
    [
      'an address with a zone',
      { ...SECRET, COATCHECK_BROKER_NAMES: 'fe80::1%eth0' },
      'a DNS name or an address',
    ],
    [
      'an address within an address',
      { ...SECRET, COATCHECK_BROKER_NAMES: '::ffff:10.0.0.7' },
      'a DNS name or an address',
    ],
    [
      'a longer address than there is',
      { ...SECRET, COATCHECK_BROKER_NAMES: '1:2:3:4:5:6:7:8:9' },
      'a DNS name or an address',
    ],
    [
      'a name with a label of 64 characters',
      { ...SECRET, COATCHECK_BROKER_NAMES: `${'a'.repeat(64)}.b` },
      'a DNS name or an address',
    ],
    [
      'a name of 254 characters',
      { ...SECRET, COATCHECK_BROKER_NAMES: `${'a.'.repeat(126)}bc` },
      'a DNS name or an address',
    ],
    [
      'a Secret of another namespace',
      { COATCHECK_CERTIFICATES_SECRET: 'a/b' },
      'lower-case letters',
    ],
  ] as const) {
    it(`refuse ${what}`, () => {
      expect(() => read(environment)).to.throw(says);
    });
  }

  for (const name of [
    'a.b',
    '1.2.3.4',
    '1.2.3a',
    'Tokens.3-x',
    '2001:db8::1',
    '::ffff:a00:7',
    `${'a'.repeat(63)}.b`,
    `${'a.'.repeat(126)}b`,
  ])
    it(`take the name ${name.slice(0, 70)}`, () => {
      const environment = { ...SECRET, COATCHECK_BROKER_NAMES: name };
      expect(read(environment).brokerNames).to.eql([name]);
    });

  it('take an authority that lives just long enough', () => {
    const seconds = String(4 * (90 + 1) * 86_400);
    expect(read({ ...SECRET, COATCHECK_CA_LIFETIME_SECONDS: seconds })).to.include({
      caLifetimeSeconds: Number(seconds),
    });
  });
});
