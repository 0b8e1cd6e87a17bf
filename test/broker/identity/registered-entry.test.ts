// Entries of the API: what becomes of good ones, and everything they may not name.
import { expect } from 'chai';
import { parseRegisteredEntry } from '../../../broker/identity/registered-entry.ts';
import { createSigningKey } from '../../support/minting.ts';

const JWKS = { keys: [createSigningKey('ES256', 'first').jwk] };
const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const FETCHED = {
  kind: 'kubernetes',
  issuer: 'https://edge.example.com',
  keys: { url: 'https://keys.example.com/jwks' },
};
const PUSHED = { ...FETCHED, controller: CONTROLLER, keys: { pushed: { jwks: JWKS } } };
const OIDC = { kind: 'oidc', issuer: 'https://ci.example.com' };

const read = (document: unknown, { name = 'edge', allowsPrivate = false } = {}) =>
  parseRegisteredEntry(document, { name, allowsPrivate });

describe('an entry that is registered', () => {
  it('is a cluster that is never the own one, is never reviewed, and asks public addresses alone', () => {
    const parsed = read(FETCHED);
    expect(parsed.ok && parsed.cluster).to.deep.include({
      name: 'edge',
      kind: 'kubernetes',
      own: false,
      isRegistered: true,
      validation: 'offline',
      issuers: ['https://edge.example.com'],
      keys: { from: 'url', url: 'https://keys.example.com/jwks', publicOnly: true },
    });
  });

  it('may have its keys pushed, from a first set on, for a day unless it says otherwise', () => {
    const parsed = read(PUSHED);
    expect(parsed.ok && parsed.cluster.keys).to.include({ from: 'pushed' });
    expect(parsed.ok && parsed.cluster).to.include({ maxStalenessSeconds: 86_400 });
  });

  it('is an OIDC issuer whose keys are found below it', () => {
    const parsed = read(OIDC, { name: 'ci' });
    expect(parsed.ok && parsed.cluster).to.deep.include({
      kind: 'oidc',
      own: false,
      keys: { from: 'discovery', url: OIDC.issuer, publicOnly: true },
    });
  });

  it('may have keys at private addresses where the operator allows it', () => {
    for (const url of [
      'https://10.1.2.3/jwks',
      'http://127.0.0.1:8080/jwks',
      'https://keys.internal/',
    ])
      expect(read({ ...FETCHED, keys: { url } }, { allowsPrivate: true }).ok, url).to.equal(true);
    const plain = { ...FETCHED, keys: { url: 'http://keys.example.com/jwks' } };
    expect(read(plain, { allowsPrivate: true }).ok).to.equal(false);
  });

  const keys = (value: object) => ({ ...FETCHED, keys: value });
  const bad: readonly { title: string; document: unknown; path: string; problem: RegExp }[] = [
    {
      title: 'own: true',
      document: { ...FETCHED, own: true },
      path: 'own',
      problem: /clusters file/,
    },
    {
      title: 'a name in the body',
      document: { ...FETCHED, name: 'b' },
      path: '',
      problem: /unknown field name/,
    },
    {
      title: 'review',
      document: { ...FETCHED, validation: 'review' },
      path: 'validation',
      problem: /must be offline/,
    },
    {
      title: 'hybrid',
      document: { ...FETCHED, validation: 'hybrid' },
      path: 'validation',
      problem: /must be offline/,
    },
    {
      title: 'an API server to review',
      document: { ...FETCHED, review: { tokenFile: '/t' } },
      path: 'review',
      problem: /clusters file alone/,
    },
    {
      title: 'a key file',
      document: keys({ file: '/etc/passwd' }),
      path: 'keys.file',
      problem: /clusters file alone/,
    },
    {
      title: 'an API server for keys',
      document: keys({ apiServer: {} }),
      path: 'keys.apiServer',
      problem: /clusters file alone/,
    },
    {
      title: 'a CA file',
      document: keys({ url: 'https://a.example.com/', caFile: '/ca' }),
      path: 'keys.caFile',
      problem: /clusters file alone/,
    },
    {
      title: 'a file with the first key set',
      document: { ...PUSHED, keys: { pushed: { jwks: JWKS, file: '/k' } } },
      path: 'keys.pushed.file',
      problem: /clusters file alone/,
    },
    {
      title: 'a CA that is none',
      document: keys({ url: 'https://a.example.com/', ca: 'ca' }),
      path: 'keys.ca',
      problem: /certificates in PEM/,
    },
    {
      title: 'two ways to its keys',
      document: keys({ url: 'https://a.example.com/', discovery: {} }),
      path: 'keys',
      problem: /exactly one/,
    },
    {
      title: 'no way to its keys',
      document: { ...FETCHED, keys: undefined },
      path: 'keys',
      problem: /required|expected/i,
    },
    {
      title: 'pushed keys without somebody who pushes',
      document: { ...PUSHED, controller: undefined },
      path: 'controller',
      problem: /who pushes/,
    },
    {
      title: 'a private key',
      document: {
        ...PUSHED,
        keys: { pushed: { jwks: { keys: [{ ...JWKS.keys[0], d: 'AAAA' }] } } },
      },
      path: 'keys.pushed.jwks.keys[0]',
      problem: /private/,
    },
    {
      title: 'pushed keys of an OIDC issuer',
      document: { ...OIDC, keys: { pushed: { jwks: JWKS } } },
      path: 'keys',
      problem: /unknown field pushed/,
    },
    {
      title: 'no issuer',
      document: { ...FETCHED, issuer: undefined },
      path: '',
      problem: /either issuer or issuers/,
    },
    {
      title: 'a fetch every second',
      document: { ...FETCHED, refreshSeconds: 1 },
      path: 'refreshSeconds',
      problem: /60/,
    },
    {
      title: 'another kind',
      document: { ...FETCHED, kind: 'vault' },
      path: 'kind',
      problem: /kubernetes, oidc/,
    },
  ];
  for (const { title, document, path, problem } of bad) {
    it(`may not have ${title}`, () => {
      const parsed = read(document);
      if (parsed.ok) throw new Error('it was taken');
      const [first] = parsed.problems;
      expect(first).to.include({ path });
      expect(first?.problem).to.match(problem);
    });
  }

  for (const name of ['', 'Edge', 'a.b', '-a', 'a:b', 'a'.repeat(64), '../a']) {
    it(`may not be named ${JSON.stringify(name.slice(0, 10))}`, () => {
      expect(read(FETCHED, { name })).to.include({ ok: false });
    });
  }

  for (const host of [
    'localhost',
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '[::1]',
    '[::ffff:10.0.0.1]',
    '[fd00::1]',
    '[fe80::1]',
    '[2002:a00:1::]',
    '[64:ff9b::a00:1]',
    'kubernetes.default.svc',
    'vault.internal',
    'db.local',
    'intranet',
  ]) {
    it(`does not make the broker ask ${host}, by any of its addresses`, () => {
      const url = `https://${host}/jwks`;
      for (const document of [
        keys({ url }),
        keys({ discovery: { url } }),
        keys({ discovery: { url: 'https://a.example.com', jwksUri: url } }),
        { ...FETCHED, issuer: url, keys: { discovery: {} } },
        { ...OIDC, issuer: url },
      ]) {
        const parsed = read(document);
        if (parsed.ok) throw new Error('it was taken');
        expect(parsed.problems[0]?.problem).to.contain('public internet');
      }
    });
  }
});
