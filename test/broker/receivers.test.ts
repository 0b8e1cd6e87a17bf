// The receivers file: what it may say, and for each identity it names, who is almost that.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { type Identity, toSubject } from '../../broker/identity/identity.ts';
import {
  createReceivers,
  openReceivers,
  parseReceivers,
  ReceiversError,
} from '../../broker/receivers.ts';

const workload = (cluster: string, namespace: string, serviceAccount: string): Identity => ({
  kind: 'workload',
  cluster,
  namespace,
  serviceAccount,
  serviceAccountUid: 'uid',
});
const oidc = (issuer: string, subject: string): Identity => ({ kind: 'oidc', issuer, subject });
const client = (id: string): Identity => ({ kind: 'client', id });
const toCaller = (identity: Identity) => ({ subject: toSubject(identity), identity });

interface Row {
  readonly identity: string;
  readonly fits: Identity;
  readonly near: readonly Identity[];
}

const ROWS: readonly Row[] = [
  {
    identity: 'k8s:local:shop:api',
    fits: workload('local', 'shop', 'api'),
    near: [
      workload('other', 'shop', 'api'),
      workload('local', 'shop2', 'api'),
      workload('local', 'shop', 'api2'),
      workload('local', 'shop', 'ap'),
      client('api'),
    ],
  },
  {
    identity: 'k8s:local:team-*:api',
    fits: workload('local', 'team-a', 'api'),
    near: [workload('local', 'team', 'api'), workload('local', 'steam-a', 'api')],
  },
  {
    // A glob of the namespace does not reach over the colon into the name.
    identity: 'k8s:local:sh*:api',
    fits: workload('local', 'shop', 'api'),
    near: [workload('local', 'shop', 'x-api'), workload('local', 'xsh', 'api')],
  },
  {
    identity: 'k8s:*:shop:*',
    fits: workload('any', 'shop', 'anything'),
    near: [workload('any', 'shops', 'anything')],
  },
  { identity: 'client:gateway', fits: client('gateway'), near: [client('gateway2'), client('g')] },
  { identity: 'client:gate*', fits: client('gateway'), near: [client('a-gate')] },
  {
    identity: 'oidc:github:repo:acme/shop:*',
    fits: oidc('github', 'repo:acme/shop:ref:refs/heads/main'),
    near: [
      oidc('gitlab', 'repo:acme/shop:ref:refs/heads/main'),
      oidc('github', 'repo:acme/shop-evil:ref:refs/heads/main'),
      oidc('github', 'x:repo:acme/shop:ref'),
    ],
  },
];

describe('receivers', () => {
  for (const { identity, fits, near } of ROWS) {
    it(`${identity} is ${toSubject(fits)} and none of ${near.map(toSubject).join(', ')}`, () => {
      const receivers = createReceivers([{ identity, audiences: ['a', 'b'] }]);
      expect(receivers.mayAsk(toCaller(fits), 'a')).to.equal(true);
      expect(receivers.mayAsk(toCaller(fits), 'b')).to.equal(true);
      expect(receivers.mayAsk(toCaller(fits), 'c')).to.equal(false);
      for (const one of near) expect(receivers.mayAsk(toCaller(one), 'a')).to.equal(false);
    });
  }

  it('give an identity that stands there twice both lists', () => {
    const receivers = createReceivers([
      { identity: 'client:*', audiences: ['a'] },
      { identity: 'client:x', audiences: ['b'] },
    ]);
    expect(['a', 'b', 'c'].map((one) => receivers.mayAsk(toCaller(client('x')), one))).to.eql([
      true,
      true,
      false,
    ]);
  });

  it('are not whoever only carries a name: a static token made for client:x', () => {
    const receivers = createReceivers([{ identity: 'client:x', audiences: ['a'] }]);
    expect(receivers.mayAsk({ subject: 'client:x' }, 'a')).to.equal(false);
  });

  it('who show a client token of one audience ask about that audience alone', () => {
    const receivers = createReceivers([{ identity: 'client:x', audiences: ['a', 'b'] }]);
    const caller = { ...toCaller(client('x')), onlyAudience: 'a' };
    expect([receivers.mayAsk(caller, 'a'), receivers.mayAsk(caller, 'b')]).to.eql([true, false]);
  });

  it('are remembered for so many callers that memory stays bounded', () => {
    const receivers = createReceivers([{ identity: 'client:x*', audiences: ['a'] }]);
    for (let i = 0; i < 5000; i++)
      expect(receivers.mayAsk(toCaller(client(`x${i}`)), 'a')).to.equal(true);
  });
});

describe('receivers file', () => {
  const BAD: readonly (readonly [name: string, text: string, problem: RegExp])[] = [
    ['nothing', '', /must hold one document/],
    ['two documents', 'receivers: []\n---\nreceivers: []', /must hold one document/],
    ['a key it does not know', 'receivers: []\nreceiver: []', /receiver\b/],
    ['no list', 'receivers: x', /receivers/],
    ['an identity of no kind', receiver('shop:api'), /identity.*must be k8s:/],
    ['a ServiceAccount without its cluster', receiver('k8s:shop:api'), /identity.*must be k8s:/],
    ['a ServiceAccount with a part too many', receiver('k8s:a:b:c:d'), /identity.*must be k8s:/],
    ['an empty part', receiver('k8s:a::c'), /identity.*must be k8s:/],
    ['a client with a colon', receiver('client:a:b'), /identity.*must be k8s:/],
    ['a glob for everybody', receiver('*'), /identity.*must be k8s:/],
    ['a blank', receiver('client:a b'), /identity.*must be k8s:/],
    ['no audience', 'receivers: [{ identity: "client:x", audiences: [] }]', /audiences/],
    [
      'an audience that is none',
      'receivers: [{ identity: "client:x", audiences: ["a b"] }]',
      /audiences\[0\]/,
    ],
  ];

  function receiver(identity: string): string {
    return `receivers: [{ identity: "${identity}", audiences: [a] }]`;
  }

  for (const [name, text, problem] of BAD) {
    it(`is refused with ${name}`, () => {
      expect(() => parseReceivers(text, { file: 'receivers.yaml' }))
        .to.throw(ReceiversError, problem)
        .with.property('message')
        .that.matches(/^receivers.yaml: /);
    });
  }

  it('is read again when it changes; a broken one changes nothing', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-receivers-'));
    const file = path.join(folder, 'receivers.yaml');
    const asks = (audience: string) => opened.current().mayAsk(toCaller(client('x')), audience);
    expect(() => openReceivers(file)).to.throw(ReceiversError, /cannot be read \(ENOENT\)/);
    writeFileSync(file, receiver('client:x'));
    const opened = openReceivers(file);
    const first = opened.current();
    opened.reload();
    expect(opened.current()).to.equal(first);
    writeFileSync(file, 'receivers: [{ identity: "client:x", audiences: [b] }]');
    opened.reload();
    expect([asks('a'), asks('b')]).to.eql([false, true]);
    writeFileSync(file, 'receivers: [broken');
    expect(() => opened.reload()).to.throw(ReceiversError);
    expect([asks('a'), asks('b')]).to.eql([false, true]);
    rmSync(folder, { recursive: true });
  });
});
