// `make demo` to its end, as a process of its own, and the parts of it that draw.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { markAdded } from '../../dev/demo/pod-text.ts';
import { abbreviate, decodeToken, renderClaims } from '../../dev/demo/token-text.ts';
import { type Ended, start } from './program.ts';

// A whole compact JWS. The demo may show the ends of one, never one.
const WHOLE_TOKEN = /eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/;

describe('make demo', () => {
  // Of its own, so that what is left there is the demo's.
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-test-'));
  let ended: Ended;

  before(async function () {
    // Builds the exchange program where it has to.
    this.timeout(60_000);
    ended = await start('dev/demo.ts', [], { TMPDIR: folder }).ended;
  });

  after(() => rmSync(folder, { recursive: true }));

  it('ends well, in sections, without colours where nobody sees them', () => {
    expect(ended.code, ended.stderr).to.equal(0);
    expect(ended.stdout)
      .to.match(/\n1\. The parts/)
      .and.match(/\n11\. Where to go next/);
    expect(ended.stdout).not.to.contain('\u001b');
  });

  const facts = [
    {
      name: 'marks our additions in the mutated pod',
      shows: /^ +\+ {5}- name: coatcheck-exchange$/m,
    },
    { name: 'leaves the pod’s own lines unmarked', shows: /^ {7}apiVersion: v1$/m },
    {
      name: 'shows where the ServiceAccount token is projected',
      shows: /\/var\/run\/coatcheck\/identity\/payments {3}audience payments, 3600 s/,
    },
    { name: 'shows the log of the exchange program', shows: /token written audience=payments/ },
    {
      name: 'shows the file and the ends of the token',
      shows:
        /AUTH_TOKEN_FILE=\/var\/run\/secrets\/auth\.example\.io\/payments\/token\n\n +eyJ\w+…[\w-]{8} \(\d+ characters/,
    },
    { name: 'shows the claims', shows: /"sub": "k8s:demo:shop:checkout"/ },
    {
      name: 'verifies the token as a receiver does',
      shows: /Verified as the payments service would/,
    },
    { name: 'shows the decision', shows: /decision +allowed by role payments-checkout/ },
    {
      name: 'explains with the ceiling of the broker',
      // An hour, as the role's own.
      shows: /maxTtl {2}([-\d]+T[\d:]+Z)\n +ceiling \1\n/,
    },
    {
      name: 'shows what the developer of a refused pod sees',
      shows:
        /coatcheck-exchange {2}terminated, exit code 1\n +coatcheck: no token for audience payments for ServiceAccount shop\/reports/,
    },
    {
      name: 'shows why to the operator',
      shows:
        /decision +denied: role_mismatch[^\n]*\n +because +kubernetes\.io\.serviceaccount\.name: got "reports", want "checkout"/,
    },
    { name: 'says where to go next', shows: /npx coatcheck dev/ },
  ];
  for (const { name, shows } of facts) {
    it(name, () => {
      expect(ended.stdout).to.match(shows);
    });
  }

  it('lets the developer’s correlation id lead to the operator’s record', () => {
    const told = /correlation id ([0-9a-f-]{36})/.exec(ended.stdout)?.[1];
    expect(ended.stdout).to.contain(`"correlationId": "${told}"`);
  });

  it('shows no whole token anywhere', () => {
    expect(ended.stdout).not.to.match(WHOLE_TOKEN);
    expect(ended.stderr).not.to.match(WHOLE_TOKEN);
  });

  it('leaves nothing behind', () => {
    expect(readdirSync(folder)).to.deep.equal([]);
  });
});

describe('the comparison of the demo', () => {
  const rows = [
    {
      name: 'marks nothing where nothing was added',
      before: ['a', 'b'],
      after: ['a', 'b'],
      added: [],
    },
    {
      name: 'marks a line in the middle',
      before: ['a', 'b'],
      after: ['a', 'x', 'b'],
      added: ['x'],
    },
    { name: 'marks lines at both ends', before: ['a'], after: ['x', 'a', 'y'], added: ['x', 'y'] },
    {
      name: 'marks a repetition once',
      before: ['- a', 'b'],
      after: ['- a', 'b', '- a', 'b'],
      added: ['- a', 'b'],
    },
    {
      name: 'marks what took the place of a line',
      before: ['a', 'v: {}', 'b'],
      after: ['a', 'v:', 'x', 'b'],
      added: ['v:', 'x'],
    },
    { name: 'marks everything where there was nothing', before: [], after: ['a'], added: ['a'] },
  ];
  for (const { name, before, after, added } of rows) {
    it(name, () => {
      const marked = markAdded(before, after);
      expect(marked.map(({ line }) => line)).to.deep.equal(after);
      expect(marked.filter(({ isAdded }) => isAdded).map(({ line }) => line)).to.deep.equal(added);
    });
  }
});

describe('tokens on the screen of the demo', () => {
  const token = `${'h'.repeat(40)}.${'c'.repeat(200)}.${'s'.repeat(86)}`;

  it('show less than a tenth of the token', () => {
    const shown = abbreviate(token);
    expect(shown).not.to.contain('c'.repeat(20));
    expect(shown).to.contain('(328 characters');
  });

  it('have times a person can read', () => {
    expect(renderClaims({ iss: 'x', exp: 1_795_377_481 })).to.contain('# 2026-11-22T19:58:01.000Z');
  });

  for (const text of ['', 'a.b', 'cc_opaque']) {
    it(`are not decoded where there is no JWT: ${JSON.stringify(text)}`, () => {
      expect(() => decodeToken(text)).to.throw('not a signed JWT');
    });
  }
});
