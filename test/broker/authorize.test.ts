// The one door by itself, step by step: what each step lets through, what it refuses just beside that, and what a
// decision then holds. Validation and roles are given, so that nothing but the door's own steps decides.
import { expect } from 'chai';
import {
  type AuthorizeDeps,
  createAuthorize,
  type Decision,
  type GrantRequest,
  toFrame,
  toRefusal,
} from '../../broker/authorize.ts';
import { BrokerError } from '../../broker/errors.ts';
import type { Identity, VerifiedSubject } from '../../broker/identity/identity.ts';
import type { Death } from '../../broker/identity/liveness.ts';
import { TokenRefused } from '../../broker/identity/refusal.ts';
import type { Proof } from '../../broker/identity/validate.ts';
import type { RoleQuery } from '../../broker/roles/resolve.ts';
import type { Role, TokenSpec } from '../../broker/roles/role.ts';
import type { DeniableToken } from '../../broker/store/deny-index.ts';
import type { Denial } from '../../broker/store/store.ts';
import type { ProvenSubject } from '../../broker/tokens/records.ts';
import { toRoleTag } from '../../broker/tokens/token-id.ts';
import { Secret } from '../../common/secret.ts';
import { createFakeClock } from '../support/clock.ts';
import { toRole } from '../support/roles.ts';
import { noteToken } from '../support/tokens.ts';

const START = Date.UTC(2026, 10, 22, 12);
const NOW = START / 1000;
const TOKEN = new Secret(noteToken('a.subject.token-of-the-door'));
const CONTEXT = { correlationId: 'c-1', dialect: 'oauth' };
const POD = { name: 'checkout-1', uid: 'pod-1' };
const WORKLOAD: Identity = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: 'sa-1',
  pod: POD,
};
const SUBJECT: VerifiedSubject = {
  identity: WORKLOAD,
  issuer: 'https://cluster.test',
  audiences: ['payments'],
  issuedAt: NOW - 60,
  expiresAt: NOW + 3000,
  tokenId: 'jti-1',
  fingerprint: '0123456789abcdef',
  claims: { secret: 'what nobody chose to show' },
};
const ROLE = toRole('pay', {
  token: {
    ...toRole('pay').token,
    ttlSeconds: 600,
    maxTtlSeconds: 1800,
    scopes: ['read', 'write'],
  },
});
const OPAQUE = withToken({ type: 'opaque', policies: ['p', 'q'], claims: { tenant: 'shop' } });
const PROVEN: ProvenSubject = {
  subject: SUBJECT,
  firstIssuedAt: NOW - 300,
  maxExpiresAt: NOW + 1500,
  policies: ['p', 'q'],
  claims: { tenant: 'shop' },
};

function withToken(token: Partial<TokenSpec>): Role {
  return { ...ROLE, token: { ...ROLE.token, ...token } };
}

interface World {
  readonly subject?: VerifiedSubject;
  readonly role?: Role;
  readonly deps?: Partial<AuthorizeDeps>;
  readonly confirm?: Proof['confirm'];
  readonly failure?: unknown;
}

/** The door over one subject and one role; remembers what it asked its neighbours. */
function open({ subject = SUBJECT, role = ROLE, deps = {}, confirm, failure }: World = {}) {
  const asked: { queries: RoleQuery[]; wanted: unknown[]; confirmed: string[] } = {
    queries: [],
    wanted: [],
    confirmed: [],
  };
  const clock = createFakeClock(START);
  const authorize = createAuthorize({
    validate: async (_token, wanted) => {
      asked.wanted.push(wanted);
      if (failure !== undefined) throw failure;
      return {
        subject,
        validation: { mode: 'review', review: 'not_asked' },
        confirm:
          confirm ??
          (async (audience) => {
            asked.confirmed.push(audience);
            return { mode: 'review', review: 'fresh' } as never;
          }),
      };
    },
    resolve: (query) => {
      asked.queries.push(query);
      return { ok: true, role, tried: [{ role: role.name, ok: true, subjects: [] }] };
    },
    clock,
    maxTtlSeconds: 86_400,
    ...deps,
  });
  const ask = (request: Partial<GrantRequest> = {}): Promise<Decision> =>
    authorize({ subject: { token: TOKEN }, audience: 'payments', ...request }, CONTEXT);
  return { ask, asked, authorize, clock };
}

function summarize({ outcome, reason, failed }: Decision): unknown {
  return { outcome, ...(reason && { reason }), ...(failed && { failed }) };
}

describe('the one door', () => {
  it('allows what holds, and says everything that was decided', async () => {
    const { ask, asked } = open();
    const decision = await ask({ scopes: ['read'], roleName: 'pay' });
    const { claims, ...shown } = SUBJECT;
    const expiry = {
      expiresAt: NOW + 600,
      cap: 'ttl',
      caps: { ttl: NOW + 600, maxTtl: NOW + 1800, ceiling: NOW + 86_400, subject: NOW + 3000 },
    };
    expect(decision).to.deep.equal({
      id: 'c-1',
      time: '2026-11-22T12:00:00.000Z',
      dialect: 'oauth',
      action: 'exchange',
      outcome: 'allow',
      subject: { ...shown, cluster: 'here' },
      validation: { mode: 'review', review: 'fresh' },
      audience: 'payments',
      role: 'pay',
      requestedRole: 'pay',
      tried: [{ role: 'pay', ok: true, subjects: [] }],
      scopes: ['read'],
      expiry,
      grant: {
        subject: SUBJECT,
        role: ROLE,
        audience: 'payments',
        scopes: ['read'],
        issuedAt: NOW,
        expiry,
      },
    });
    expect(asked.wanted).to.deep.equal([{ audience: 'payments' }]);
    expect(asked.confirmed).to.deep.equal(['payments']);
    expect(asked.queries).to.deep.equal([
      {
        subject: SUBJECT,
        audience: 'payments',
        roleName: 'pay',
        scopes: ['read'],
        dialect: 'oauth',
      },
    ]);
  });

  it('asks for no role and no scopes where none were named', async () => {
    const { ask, asked } = open();
    const decision = await ask();
    expect(decision).to.not.have.property('requestedRole');
    expect(asked.queries).to.deep.equal([
      { subject: SUBJECT, audience: 'payments', dialect: 'oauth' },
    ]);
    expect(decision.scopes).to.deep.equal(['read', 'write']);
  });

  it('shows no claims of a subject, and a cluster only where there is one', async () => {
    const identity: Identity = { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop' };
    const decision = await open({ subject: { ...SUBJECT, identity } }).ask();
    const { claims, ...shown } = SUBJECT;
    expect(decision.outcome).to.equal('allow');
    expect(decision.subject).to.deep.equal({ ...shown, identity });
  });

  describe('the audience', () => {
    const rows: readonly {
      title: string;
      audiences: readonly string[];
      audience?: string;
      expected: unknown;
    }[] = [
      { title: 'is the only one of the token', audiences: ['payments'], expected: 'payments' },
      {
        title: 'is the one asked for, of several',
        audiences: ['ledger', 'payments'],
        audience: 'payments',
        expected: 'payments',
      },
      {
        title: 'must be asked for where the token has two',
        audiences: ['payments', 'ledger'],
        expected: {
          outcome: 'deny',
          reason: 'token_audience',
          failed: {
            claim: 'aud',
            got: ['payments', 'ledger'],
            want: 'exactly one, or an audience in the request',
          },
        },
      },
      {
        title: 'cannot be chosen from none',
        audiences: [],
        expected: {
          outcome: 'deny',
          reason: 'token_audience',
          failed: { claim: 'aud', got: [], want: 'exactly one, or an audience in the request' },
        },
      },
      {
        title: 'must stand in the token letter by letter',
        audiences: ['payments'],
        audience: 'payment',
        expected: {
          outcome: 'deny',
          reason: 'target_refused',
          failed: { claim: 'aud', got: ['payments'], want: 'payment' },
        },
      },
    ];
    for (const { title, audiences, audience, expected } of rows) {
      it(title, async () => {
        const { asked, authorize } = open({ subject: { ...SUBJECT, audiences } });
        const request = { subject: { token: TOKEN }, ...(audience !== undefined && { audience }) };
        const decision = await authorize(request, CONTEXT);
        if (typeof expected === 'string') {
          expect(decision.audience).to.equal(expected);
          expect(decision.grant?.audience).to.equal(expected);
        } else {
          expect(summarize(decision)).to.deep.equal(expected);
          expect(decision.detail).to.match(/audience/);
          expect(decision).to.not.have.any.keys('audience', 'grant', 'error');
          expect(asked.queries).to.deep.equal([]);
          expect(asked.confirmed).to.deep.equal([]);
        }
      });
    }
  });

  describe('the role', () => {
    it('refuses for the reason and with the rules that the roles gave', async () => {
      const tried = [{ role: 'pay', ok: false, subjects: [] }];
      const failed = { claim: 'kubernetes.io.namespace', got: 'shop', want: 'bank' };
      const { ask, asked } = open({
        deps: {
          resolve: () => ({ ok: false, reason: 'role_mismatch', detail: 'no rule', failed, tried }),
        },
      });
      const decision = await ask({ roleName: 'pay' });
      expect(summarize(decision)).to.deep.equal({
        outcome: 'deny',
        reason: 'role_mismatch',
        failed,
      });
      expect(decision.detail).to.equal('no rule');
      expect(decision.tried).to.deep.equal(tried);
      expect(decision.requestedRole).to.equal('pay');
      expect(decision).to.not.have.any.keys('role', 'scopes', 'grant', 'error');
      expect(asked.confirmed).to.deep.equal([]);
    });
  });

  describe('scopes', () => {
    const allowed: readonly (readonly [readonly string[] | undefined, readonly string[]])[] = [
      [undefined, ['read', 'write']],
      [[], []],
      [['write'], ['write']],
      [
        ['read', 'write'],
        ['read', 'write'],
      ],
    ];
    for (const [scopes, expected] of allowed) {
      it(`${JSON.stringify(scopes)} of a role with read and write are ${JSON.stringify(expected)}`, async () => {
        const decision = await open().ask(scopes ? { scopes } : {});
        expect(decision.grant?.scopes).to.deep.equal(expected);
      });
    }

    for (const scopes of [['read', 'admin'], ['Read'], ['admin'], ['']]) {
      it(`${JSON.stringify(scopes)} are refused, by those outside the role`, async () => {
        const { ask, asked } = open();
        const decision = await ask({ scopes });
        expect(summarize(decision)).to.deep.equal({
          outcome: 'deny',
          reason: 'scope_refused',
          failed: {
            claim: 'scope',
            got: scopes.filter((scope) => scope !== 'read'),
            want: ['read', 'write'],
          },
        });
        expect(decision.detail).to.include('scope');
        expect(decision.role).to.equal('pay');
        expect(decision).to.not.have.any.keys('scopes', 'grant');
        expect(asked.confirmed).to.deep.equal([]);
      });
    }
  });

  describe('the type of token', () => {
    it('is the role’s where nobody asks', async () => {
      expect((await open({ role: OPAQUE }).ask()).outcome).to.equal('allow');
    });

    it('may be asked for where the role has it', async () => {
      expect((await open().ask({ tokenType: 'jwt' })).outcome).to.equal('allow');
    });

    it('is refused where a JWT is asked for and the role has opaque tokens', async () => {
      const decision = await open({ role: OPAQUE }).ask({ tokenType: 'jwt' });
      expect(summarize(decision)).to.deep.equal({
        outcome: 'deny',
        reason: 'token_type_unsupported',
        failed: { claim: 'requested_token_type', got: 'jwt', want: 'opaque' },
      });
      expect(decision.detail).to.include('opaque');
    });
  });

  describe('a renewal', () => {
    const renew = (proven: Partial<ProvenSubject> = {}, role: Role = OPAQUE) => {
      const world = open({ role, failure: new Error('nobody validates what was proven before') });
      return world.ask({ subject: { proven: { ...PROVEN, ...proven } } });
    };

    it('stands on what was proven, asks no API server, and counts from the first issue', async () => {
      const decision = await renew();
      expect(decision.outcome).to.equal('allow');
      expect(decision).to.not.have.property('validation');
      expect(decision.expiry?.caps).to.deep.equal({
        ttl: NOW + 600,
        maxTtl: NOW + 1500,
        ceiling: NOW - 300 + 86_400,
        subject: NOW + 3000,
      });
    });

    it('is capped by the role of now, from the first issue', async () => {
      const { expiry } = await renew(
        { maxExpiresAt: NOW + 9000 },
        withToken({ ...OPAQUE.token, maxTtlSeconds: 800 }),
      );
      expect([expiry?.expiresAt, expiry?.cap]).to.deep.equal([NOW + 500, 'maxTtl']);
    });

    it('is allowed where the role gives more policies than the token has', async () => {
      expect((await renew({ policies: ['q'] })).outcome).to.equal('allow');
    });

    const refused: readonly (readonly [string, Partial<ProvenSubject>, Role, unknown])[] = [
      [
        'a policy of the token is gone from the role',
        {},
        withToken({ ...OPAQUE.token, policies: ['p'] }),
        { claim: 'policies', got: ['p', 'q'], want: ['p'] },
      ],
      [
        'every policy of the token is gone',
        {},
        withToken({ ...OPAQUE.token, policies: [] }),
        { claim: 'policies', got: ['p', 'q'], want: [] },
      ],
      [
        'the role has JWTs now',
        {},
        withToken({ ...OPAQUE.token, type: 'jwt' }),
        { claim: 'type', got: 'opaque', want: 'jwt' },
      ],
      [
        'an extra claim has another value',
        { claims: { tenant: 'bank' } },
        OPAQUE,
        { claim: 'claims', got: ['tenant'], want: ['tenant'] },
      ],
      [
        'an extra claim is new',
        { claims: {} },
        OPAQUE,
        { claim: 'claims', got: [], want: ['tenant'] },
      ],
      [
        'an extra claim is gone',
        { claims: { tenant: 'shop', tier: 'gold' } },
        OPAQUE,
        { claim: 'claims', got: ['tenant', 'tier'], want: ['tenant'] },
      ],
    ];
    for (const [title, proven, role, failed] of refused) {
      it(`is refused where ${title}`, async () => {
        const decision = await renew(proven, role);
        expect(summarize(decision)).to.deep.equal({
          outcome: 'deny',
          reason: 'role_mismatch',
          failed,
        });
        expect(decision.detail).to.match(/^the role does not give .* any more$/);
      });
    }

    it('does not hold a first issue to what a renewal is held to', async () => {
      expect((await open({ role: withToken({ policies: ['other'] }) }).ask()).outcome).to.equal(
        'allow',
      );
    });
  });

  describe('lifetimes', () => {
    const unbound: Identity = { ...WORKLOAD };
    delete (unbound as { pod?: unknown }).pod;
    const long = withToken({ ttlSeconds: 50_000, maxTtlSeconds: 50_000, outliveSubject: true });
    const rows: readonly (readonly [string, Identity, number])[] = [
      ['a token bound to a pod lives as the role says', WORKLOAD, 50_000],
      ['a workload without pod gets an hour at most', unbound, 3600],
      [
        'a subject that is no workload is bound by no pod and lives as the role says',
        { kind: 'client', id: 'ci' },
        50_000,
      ],
    ];
    for (const [title, identity, seconds] of rows) {
      it(title, async () => {
        const decision = await open({ role: long, subject: { ...SUBJECT, identity } }).ask();
        expect(decision.expiry?.expiresAt).to.equal(NOW + seconds);
      });
    }

    it('end with the ceiling of the broker', async () => {
      const decision = await open({ role: long, deps: { maxTtlSeconds: 120 } }).ask();
      expect(decision.expiry?.expiresAt).to.equal(NOW + 120);
    });

    it('of one second are given', async () => {
      const decision = await open({ subject: { ...SUBJECT, expiresAt: NOW + 1 } }).ask();
      expect(decision.grant?.expiry.expiresAt).to.equal(NOW + 1);
    });

    it('of nothing are refused, within the leeway of the subject token', async () => {
      const decision = await open({ subject: { ...SUBJECT, expiresAt: NOW } }).ask();
      expect(summarize(decision)).to.deep.equal({
        outcome: 'deny',
        reason: 'token_expired',
        failed: { claim: 'exp', got: NOW, want: `> ${NOW}` },
      });
      expect(decision.detail).to.equal('no lifetime is left');
      expect(decision.expiry?.cap).to.equal('subject');
      expect(decision).to.not.have.property('grant');
    });

    it('are counted after the API server was asked, however long that took', async () => {
      const world = open({
        confirm: async () => {
          await world.clock.advance(5000);
          return { mode: 'review' };
        },
      });
      const decision = await world.ask();
      expect(decision.grant?.issuedAt).to.equal(NOW + 5);
      expect(decision.validation).to.deep.equal({ mode: 'review' });
    });
  });

  it('refuses what the API server does not vouch for, after everything else held', async () => {
    const { ask } = open({
      confirm: () => Promise.reject(new BrokerError('review_refused', 'the API server said no')),
    });
    const decision = await ask();
    expect(summarize(decision)).to.deep.equal({ outcome: 'deny', reason: 'review_refused' });
    expect(decision.detail).to.equal('the API server said no');
    expect(decision.validation).to.deep.equal({ mode: 'review', review: 'not_asked' });
    expect(decision.scopes).to.deep.equal(['read', 'write']);
    expect(decision).to.not.have.any.keys('expiry', 'grant', 'error', 'failed');
  });

  it('looks for a denial of the very token it is about to give', async () => {
    const seen: DeniableToken[] = [];
    const findDenial = (token: DeniableToken): Denial | undefined => {
      seen.push(token);
      return undefined;
    };
    expect((await open({ deps: { findDenial } }).ask()).outcome).to.equal('allow');
    expect(seen).to.deep.equal([
      {
        subject: 'k8s:here:shop:checkout',
        cluster: 'here',
        namespace: 'shop',
        serviceAccount: 'checkout',
        serviceAccountUid: 'sa-1',
        podName: POD.name,
        podUid: POD.uid,
        roleTag: toRoleTag('pay'),
        audience: 'payments',
        tokenId: '',
        issuedAt: NOW,
      },
    ]);
  });

  it('gives nothing to whom a rule denies for good', async () => {
    const findDenial = () => ({ id: 'd-1' }) as Denial;
    const decision = await open({ deps: { findDenial } }).ask();
    expect(summarize(decision)).to.deep.equal({ outcome: 'failure', reason: 'revocation_pending' });
    expect(decision).to.not.have.property('grant');
  });

  describe('a subject that is dead', () => {
    const death: Death = { kind: 'Pod', uid: 'pod-1', how: 'reported', at: START };
    const answer = (...answers: readonly (Death | undefined)[]) => {
      const seen: unknown[] = [];
      return {
        seen,
        findDeath: (...asked: unknown[]) => answers[seen.push(asked) - 1],
      };
    };

    it('is refused before anything else is looked at', async () => {
      const { findDeath, seen } = answer(death);
      const { ask, asked } = open({ deps: { findDeath } });
      const decision = await ask();
      expect(decision).to.include({ outcome: 'deny', reason: 'subject_dead' });
      expect(seen).to.deep.equal([[WORKLOAD, SUBJECT.issuedAt]]);
      expect(asked.queries).to.deep.equal([]);
      expect(asked.confirmed).to.deep.equal([]);
    });

    it('is refused where it died while the API server was asked', async () => {
      const { findDeath } = answer(undefined, death);
      const { ask, asked } = open({ deps: { findDeath } });
      const decision = await ask();
      expect(decision).to.include({ outcome: 'deny', reason: 'subject_dead' });
      expect(asked.confirmed).to.deep.equal(['payments']);
      expect(decision).to.not.have.any.keys('grant', 'expiry');
    });

    it('is another than one that lives', async () => {
      const { findDeath, seen } = answer();
      expect((await open({ deps: { findDeath } }).ask()).outcome).to.equal('allow');
      expect(seen).to.have.length(2);
    });
  });

  describe('refusals', () => {
    it('of a token hold what was verified of it', async () => {
      const facts = { fingerprint: 'fedcba9876543210', cluster: 'here' };
      const failed = { claim: 'exp', got: 1, want: '> 2' };
      const failure = new TokenRefused('token_expired', { detail: 'expired', facts, failed });
      const decision = await open({ failure }).ask({ roleName: 'pay' });
      expect(decision).to.deep.equal({
        id: 'c-1',
        time: '2026-11-22T12:00:00.000Z',
        dialect: 'oauth',
        action: 'exchange',
        tried: [],
        requestedRole: 'pay',
        subject: facts,
        outcome: 'deny',
        reason: 'token_expired',
        detail: 'expired',
        failed,
      });
    });

    for (const reason of ['keys_unavailable', 'too_many_requests', 'internal'] as const) {
      it(`for ${reason} are failures of ours, with the error for the log`, async () => {
        const failure = new BrokerError(reason, 'ours');
        const decision = await open({ failure }).ask();
        expect(summarize(decision)).to.deep.equal({ outcome: 'failure', reason });
        expect(decision.error).to.equal(failure);
      });
    }

    it('for what is no error of the broker are internal, and quote nothing', async () => {
      const failure = new Error('secret words');
      const decision = await open({ failure }).ask();
      expect(summarize(decision)).to.deep.equal({ outcome: 'failure', reason: 'internal' });
      expect(decision.error).to.equal(failure);
      expect(decision).to.not.have.any.keys('detail', 'subject', 'failed');
    });

    it('of requests that never came to the door have the same frame', () => {
      const clock = createFakeClock(START);
      const error = new BrokerError('parameter_missing');
      expect(toRefusal(error, { ...CONTEXT, action: 'renew' }, { clock })).to.deep.equal({
        id: 'c-1',
        time: '2026-11-22T12:00:00.000Z',
        dialect: 'oauth',
        action: 'renew',
        tried: [],
        outcome: 'deny',
        reason: 'parameter_missing',
      });
    });
  });

  it('frames a decision as an exchange unless it is another', () => {
    const clock = createFakeClock(START);
    expect(toFrame(CONTEXT, clock).action).to.equal('exchange');
    expect(toFrame({ ...CONTEXT, action: 'revoke' }, clock).action).to.equal('revoke');
  });
});
