// Tokens from issue to end, over a real store and with a clock that a test owns: every kind of grant against every deny
// rule, renewals against every change of a role, the second in which something was revoked, a store that is away.
import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'chai';
import type { AuditRecord } from '../../../broker/audit.ts';
import { createAuditSink } from '../../../broker/audit.ts';
import { createAuthorize } from '../../../broker/authorize.ts';
import { createDesk, type Desk, type Settled } from '../../../broker/desk.ts';
import type { BrokerError } from '../../../broker/errors.ts';
import type { VerifiedSubject, WorkloadIdentity } from '../../../broker/identity/identity.ts';
import { createMetrics } from '../../../broker/metrics.ts';
import { resolveRole } from '../../../broker/roles/resolve.ts';
import type { Role } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { createMirror, type Mirror } from '../../../broker/store/mirror.ts';
import type { Store, TokenFilter } from '../../../broker/store/store.ts';
import { fixedKeys, generateSigningKey } from '../../../broker/tokens/keys.ts';
import { createLiveTokens, type LiveTokens } from '../../../broker/tokens/live.ts';
import { createRevoker, type Revoker } from '../../../broker/tokens/revoke.ts';
import { toRoleTag } from '../../../broker/tokens/token-id.ts';
import { createLogger } from '../../../common/log.ts';
import { Secret } from '../../../common/secret.ts';
import type { FakeClock } from '../../support/clock.ts';
import { toRole } from '../../support/roles.ts';
import { keep, noteToken } from '../../support/tokens.ts';
import type { Database } from '../store/backends.ts';
import { SQLITE } from '../token-harness.ts';

const CEILING = 86_400;

interface World {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly mirror: Mirror;
  readonly desk: Desk;
  readonly tokens: LiveTokens;
  readonly revoker: Revoker;
  readonly audit: AuditRecord[];
  /** The roles of this moment. */
  roles: readonly Role[];
  now(): number;
  grant(workload?: Partial<WorkloadIdentity>, audience?: string): Promise<string>;
  settle(workload?: Partial<WorkloadIdentity>, audience?: string): Promise<Settled>;
  stop(): Promise<void>;
}

const CONTEXT = { correlationId: 'id', dialect: 'oauth' };

function role(name: string, audience: string, token: Partial<Role['token']> = {}): Role {
  const base = toRole(name);
  return {
    ...base,
    audience,
    requirePod: false,
    subjects: [{ namespace: '*', serviceAccount: '*', cluster: '*' }],
    token: { ...base.token, outliveSubject: true, ...token },
  };
}

/** One replica; `database` is shared by several. */
async function createWorld(database: Database): Promise<World> {
  const { clock } = database;
  const store = await database.open();
  const log = createLogger({ level: 'debug', process: 'test', stream: { write: () => undefined } });
  const mirror = createMirror({ store, toRoleTag, maxAwaySeconds: 300, clock, log });
  await mirror.start();
  const audit: AuditRecord[] = [];
  const metrics = createMetrics({ withProcess: false });
  const keys = fixedKeys(generateSigningKey());
  const issuer = 'https://broker.example';
  const newId = randomUUID;
  const tokens = createLiveTokens({ keys, issuers: [issuer], mirror, clock });
  const world: { roles: readonly Role[] } = {
    roles: [role('jwt-role', 'payments'), role('opaque-role', 'vault', { type: 'opaque' })],
  };
  const authorize = createAuthorize({
    validate: async (token, { audience = '' }) => {
      const subject = toVerified(JSON.parse(token.reveal()), audience, clock);
      return {
        subject,
        validation: { mode: 'offline' },
        confirm: async () => ({ mode: 'offline' }),
      };
    },
    resolve: (query) => resolveRole(indexRoles(world.roles), query, { ownCluster: 'local' }),
    findDenial: mirror.findDenial,
    clock,
    maxTtlSeconds: CEILING,
  });
  const desk = createDesk({
    authorize,
    keys,
    issuer,
    audit: createAuditSink({
      write: (line: string) => {
        keep('lifecycle audit', line);
        audit.push(JSON.parse(line));
      },
    }),
    metrics,
    log,
    clock,
    store,
    maxTokensPerIdentity: 3,
    newTokenId: newId,
    randomBytes,
  });
  const revoker = createRevoker({
    store,
    tokens,
    clock,
    newId,
    longestSeconds: 30 * 86_400,
    onRevoked: metrics.countRevocation,
  });
  const settle: World['settle'] = (workload = {}, audience = 'payments') =>
    desk.grant({ subject: { token: new Secret(JSON.stringify(workload)) }, audience }, CONTEXT);
  return Object.assign(world, {
    clock,
    store,
    mirror,
    desk,
    tokens,
    revoker,
    audit,
    now: () => Math.floor(clock.now() / 1000),
    settle,
    grant: async (...given: Parameters<World['settle']>) => {
      const { issued, decision } = await settle(...given);
      if (!issued) throw new Error(`${decision.reason}: ${decision.detail}`);
      return noteToken(issued.token);
    },
    stop: async () => {
      const stopping = mirror.stop();
      await clock.advance(0);
      await stopping;
    },
  });
}

/** What a validator would say; whether it is right is for test/broker/identity. */
function toVerified(
  { pod = { name: 'checkout-1', uid: 'pod-1' }, ...more }: Partial<WorkloadIdentity>,
  audience: string,
  clock: FakeClock,
): VerifiedSubject {
  const now = Math.floor(clock.now() / 1000);
  return {
    identity: {
      kind: 'workload',
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      serviceAccountUid: 'sa-uid',
      // Null, as JSON has it: bound to no pod.
      ...(pod && { pod }),
      ...more,
    },
    issuer: 'https://kubernetes.default.svc',
    audiences: [audience],
    issuedAt: now,
    expiresAt: now + 3600,
    fingerprint: '0123456789abcdef',
    claims: { any: 'claim' },
  };
}

describe('tokens against the deny list', () => {
  let database: Database;
  let world: World;
  beforeEach(async () => {
    database = await SQLITE.create();
    world = await createWorld(database);
  });
  afterEach(async () => {
    await world.stop();
    await database.close();
  });

  const isLive = async (token: string) => (await world.tokens.findLive(token)) !== undefined;

  /** Whoever a rule does not name keeps its token: `spared` differs from the good one in one thing. */
  const RULES: readonly {
    readonly filter: TokenFilter;
    readonly spared: Partial<WorkloadIdentity> | 'other-role' | 'other-audience';
    readonly kinds?: readonly string[];
  }[] = [
    { filter: { podUid: 'pod-1' }, spared: { pod: { name: 'checkout-1', uid: 'pod-2' } } },
    { filter: { podName: 'checkout-1' }, spared: { pod: { name: 'checkout-2', uid: 'pod-1' } } },
    { filter: { namespace: 'shop' }, spared: { namespace: 'shop2' } },
    { filter: { serviceAccount: 'checkout' }, spared: { serviceAccount: 'check' } },
    { filter: { cluster: 'local' }, spared: { cluster: 'remote' } },
    { filter: { subject: 'k8s:local:shop:checkout' }, spared: { namespace: 'money' } },
    { filter: { namespace: 'shop', podUid: 'pod-1' }, spared: { namespace: 'shop2' } },
    { filter: { role: 'jwt-role' }, spared: 'other-role', kinds: ['payments'] },
    { filter: { role: 'opaque-role' }, spared: 'other-role', kinds: ['vault'] },
    { filter: { audience: 'payments' }, spared: 'other-audience', kinds: ['payments'] },
    { filter: { audience: 'vault' }, spared: 'other-audience', kinds: ['vault'] },
    { filter: { kind: 'client', namespace: 'shop' }, spared: { namespace: 'money' } },
  ];

  for (const { filter, spared, kinds = ['payments', 'vault'] } of RULES) {
    for (const audience of kinds) {
      const what = audience === 'vault' ? 'an opaque token' : 'a JWT';
      it(`${JSON.stringify(filter)} ends ${what} and spares ${JSON.stringify(spared)}`, async () => {
        const token = await world.grant({}, audience);
        const other =
          typeof spared === 'string'
            ? await world.grant({}, audience === 'vault' ? 'payments' : 'vault')
            : await world.grant(spared, audience);
        expect([await isLive(token), await isLive(other)]).to.eql([true, true]);
        const { tokens, denial } = await world.revoker.revokeWhere(filter, 'admin');
        expect([await isLive(token), await isLive(other)]).to.eql([false, true]);
        expect(tokens).to.equal(audience === 'vault' ? 1 : 0);
        expect(denial).to.include({ issuedBefore: world.now() + 1, by: 'admin' });
        expect(denial?.until).to.be.above(world.now() + 30 * 86_400);
      });
    }
  }

  it('refuses a rule about everybody', async () => {
    for (const filter of [{}, { namespace: undefined } as never]) {
      const error = await world.revoker.revokeWhere(filter, 'admin').catch((one: unknown) => one);
      expect(error).to.include({ reason: 'parameter_missing' });
    }
  });

  it('makes no rule for static tokens, which are all stored', async () => {
    const jwt = await world.grant();
    const { denial } = await world.revoker.revokeWhere({ kind: 'static' }, 'admin');
    expect(denial).to.equal(undefined);
    expect(await isLive(jwt)).to.equal(true);
  });

  it('ends one JWT by its jti, one opaque token by its accessor, and no other', async () => {
    const [one, two] = [await world.grant(), await world.grant()];
    const [three, four] = [await world.grant({}, 'vault'), await world.grant({}, 'vault')];
    const { tokenId = '' } = (await world.tokens.findLive(one)) ?? {};
    await world.revoker.revokeByTokenId(tokenId, 'admin');
    expect([await isLive(one), await isLive(two)]).to.eql([false, true]);
    expect(await world.revoker.revokeByAccessor(three.slice(3, 27), 'admin')).to.equal(true);
    expect(await world.revoker.revokeByAccessor(three.slice(3, 27), 'admin')).to.equal(false);
    expect([await isLive(three), await isLive(four)]).to.eql([false, true]);
  });

  it('ends what is shown, once; what is no live token is nothing to do', async () => {
    for (const audience of ['payments', 'vault']) {
      const [token, other] = [await world.grant({}, audience), await world.grant({}, audience)];
      expect((await world.revoker.revokeShown(token))?.subject).to.equal('k8s:local:shop:checkout');
      expect(await world.revoker.revokeShown(token)).to.equal(undefined);
      expect([await isLive(token), await isLive(other)]).to.eql([false, true]);
    }
    expect(await world.revoker.revokeShown('garbage')).to.equal(undefined);
    // One denial for the JWT, none for the second try.
    expect(await world.store.denials.list(world.now())).to.have.length(1);
  });

  it('lets one identity end a thousand JWTs an hour one by one, and fill no list with more', async () => {
    const reasons = new Set<unknown>();
    const end = async (workload?: Partial<WorkloadIdentity>) =>
      world.revoker.revokeShown(await world.grant(workload)).then(
        (live) => live?.kind,
        (error: unknown) => reasons.add((error as BrokerError).reason) && 'refused',
      );
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 50 }, () => end()));
    expect([await end(), reasons]).to.deep.equal(['refused', new Set(['too_many_requests'])]);
    expect(await world.store.denials.list(world.now())).to.have.length(1000);
    expect(await end({ pod: { name: 'other', uid: 'other-uid' } })).to.equal('jwt');
    await world.revoker.revokeWhere({ namespace: 'shop' }, 'admin');
    await world.clock.advance(3_600_000);
    expect(await end()).to.equal('jwt');
  });

  it('keeps a denial until its token has ended, and a bit longer', async () => {
    await world.revoker.revokeShown(await world.grant());
    const [denial] = await world.store.denials.list(world.now());
    expect(denial?.until).to.equal(world.now() + 900 + 60);
  });

  for (const audience of ['payments', 'vault']) {
    it(`lets a new token for ${audience} wait out the second of a revocation, and live`, async () => {
      const old = await world.grant({}, audience);
      await world.clock.advance(300);
      await world.revoker.revokeWhere({ namespace: 'shop' }, 'admin');
      const revokedAt = world.now();
      const asked = world.grant({}, audience);
      let isThere = false;
      void asked.then(() => {
        isThere = true;
      });
      await world.clock.advance(699);
      expect(isThere).to.equal(false);
      await world.clock.advance(1);
      const token = await asked;
      const live = await world.tokens.findLive(token);
      expect(live?.issuedAt).to.equal(revokedAt + 1);
      expect([await isLive(old), live !== undefined]).to.eql([false, true]);
      // Whom the rule does not name waits for nothing, not even in that second.
      await world.revoker.revokeWhere({ namespace: 'shop' }, 'admin');
      expect(await isLive(await world.grant({ namespace: 'money' }, audience))).to.equal(true);
    });
  }

  it('refuses to issue, for now, where a rule is dated further ahead than that', async () => {
    await world.store.denials.add({
      id: 'ahead',
      match: { namespace: 'shop' },
      issuedBefore: world.now() + 30,
      until: world.now() + 1000,
      createdAt: world.now() + 30,
      by: 'a replica with another clock',
    });
    const { decision, issued } = await world.settle();
    expect(issued).to.equal(undefined);
    expect(decision).to.include({ outcome: 'failure', reason: 'revocation_pending' });
    expect((await world.settle({ namespace: 'money' })).issued).to.be.an('object');
  });
});

describe('opaque tokens from issue to end', () => {
  let database: Database;
  let world: World;
  beforeEach(async () => {
    database = await SQLITE.create();
    world = await createWorld(database);
  });
  afterEach(async () => {
    await world.stop();
    await database.close();
  });

  const isLive = async (token: string) => (await world.tokens.findLive(token)) !== undefined;
  const setRole = (token: Partial<Role['token']>, more: Partial<Role> = {}) => {
    world.roles = [{ ...role('opaque-role', 'vault', { type: 'opaque', ...token }), ...more }];
  };
  const renew = async (token: string) => {
    const live = await world.tokens.findLive(token);
    if (!live) throw new Error('not live');
    return (await world.desk.renew(live, CONTEXT)).decision;
  };
  const endOf = async (token: string) =>
    ((await world.tokens.findLive(token))?.expiresAt ?? 0) - world.now();

  it('are stored by their hash, and the text is nowhere in the database', async () => {
    const token = await world.grant({}, 'vault');
    const { items } = await world.store.tokens.list({ kind: 'client' }, { limit: 10 });
    expect(items).to.have.length(1);
    expect(JSON.stringify(items)).not.to.include(token.slice(27));
    expect(items[0]).to.include({
      accessor: token.slice(3, 27),
      subject: 'k8s:local:shop:checkout',
      podUid: 'pod-1',
      role: 'opaque-role',
      audience: 'vault',
    });
    expect(world.audit.at(-1)).to.include({ action: 'exchange', tokenId: token.slice(3, 27) });
  });

  it('end when they said', async () => {
    const token = await world.grant({}, 'vault');
    await world.clock.advance(899_000);
    expect(await isLive(token)).to.equal(true);
    await world.clock.advance(1000);
    expect(await isLive(token)).to.equal(false);
  });

  it('are three per pod at most here: a fourth ends the first, and none of another pod', async () => {
    const other = await world.grant({ pod: { name: 'checkout-2', uid: 'pod-2' } }, 'vault');
    const made: string[] = [];
    for (let i = 0; i < 4; i++) {
      made.push(await world.grant({}, 'vault'));
      await world.clock.advance(1000);
    }
    expect(await Promise.all(made.map(isLive))).to.eql([false, true, true, true]);
    expect(await isLive(other)).to.equal(true);
  });

  it('are not given out where the store does not take them, and JWTs are', async () => {
    await world.store.close();
    const { decision, issued } = await world.settle({}, 'vault');
    expect(issued).to.equal(undefined);
    expect(decision).to.include({ outcome: 'failure', reason: 'store_unavailable' });
    expect((await world.settle()).issued).to.be.an('object');
  });

  it('are renewed to a whole ttl from now, until maxTtl from their first issue', async () => {
    const token = await world.grant({}, 'vault');
    await world.clock.advance(600_000);
    expect((await renew(token)).outcome).to.equal('allow');
    expect(await endOf(token)).to.equal(900);
    for (let i = 0; i < 4; i++) {
      await world.clock.advance(600_000);
      await renew(token);
    }
    // 3000 s after the issue 600 are left of the hour; a minute before its end, a minute.
    expect(await endOf(token)).to.equal(600);
    await world.clock.advance(540_000);
    const decision = await renew(token);
    expect(decision.expiry?.cap).to.equal('maxTtl');
    expect(await endOf(token)).to.equal(60);
    await world.clock.advance(60_000);
    expect(await isLive(token)).to.equal(false);
  });

  it('leave a record of each renewal, with what was decided', async () => {
    const token = await world.grant({}, 'vault');
    await renew(token);
    expect(world.audit.at(-1)).to.deep.include({
      action: 'renew',
      outcome: 'allow',
      tokenId: token.slice(3, 27),
      role: 'opaque-role',
      requestedRole: 'opaque-role',
      subjectFingerprint: '0123456789abcdef',
      pod: 'checkout-1',
    });
    expect(world.audit.at(-1)).not.to.have.property('validation');
  });

  it('are renewed with their claims, policies and scopes as they were', async () => {
    setRole({ policies: ['p', 'q'], scopes: ['a', 'b'], claims: { tenant: 'shop' } });
    const token = await world.grant({}, 'vault');
    const before = (await world.tokens.findLive(token))?.claims;
    await world.clock.advance(10_000);
    await renew(token);
    const after = (await world.tokens.findLive(token))?.claims;
    expect({ ...after, exp: 0 }).to.deep.equal({ ...before, exp: 0 });
  });

  const CHANGES: readonly {
    readonly name: string;
    readonly change: () => void;
    /** The reason, or the seconds that are left. */
    readonly expected: string | number;
    readonly failed?: string;
  }[] = [
    { name: 'nothing changed', change: () => undefined, expected: 900 },
    {
      name: 'the role is gone',
      change: () => {
        world.roles = [];
      },
      expected: 'role_unknown',
    },
    {
      name: 'the role has another name now',
      change: () => {
        world.roles = [role('renamed', 'vault', { type: 'opaque' })];
      },
      expected: 'role_unknown',
    },
    {
      name: 'the role is for others now',
      change: () => setRole({}, { subjects: [{ namespace: 'money', serviceAccount: '*' }] }),
      expected: 'role_mismatch',
      failed: 'kubernetes.io.namespace',
    },
    {
      name: 'the role is for another audience now',
      change: () => setRole({}, { audience: 'safe' }),
      expected: 'role_mismatch',
      failed: 'audience',
    },
    {
      name: 'the role gives JWTs now',
      change: () => setRole({ type: 'jwt', policies: ['p'], scopes: ['a'] }),
      expected: 'role_mismatch',
      failed: 'type',
    },
    {
      name: 'a scope is gone',
      change: () => setRole({ policies: ['p'], scopes: [] }),
      expected: 'scope_refused',
      failed: 'scope',
    },
    {
      name: 'a policy is gone',
      change: () => setRole({ policies: [], scopes: ['a'] }),
      expected: 'role_mismatch',
      failed: 'policies',
    },
    {
      name: 'a claim says something else',
      change: () => setRole({ policies: ['p'], scopes: ['a'], claims: { tenant: 'other' } }),
      expected: 'role_mismatch',
      failed: 'claims',
    },
    {
      name: 'there is more to be had now, which a renewal does not give',
      change: () => setRole({ policies: ['p', 'root'], scopes: ['a', 'b'], ...CLAIMS }),
      expected: 900,
    },
    {
      name: 'the ttl is shorter now',
      change: () => setRole({ policies: ['p'], scopes: ['a'], ttlSeconds: 120, ...CLAIMS }),
      expected: 120,
    },
    {
      name: 'the ttl is longer now',
      change: () => setRole({ policies: ['p'], scopes: ['a'], ttlSeconds: 2000, ...CLAIMS }),
      expected: 2000,
    },
    {
      name: 'maxTtl is shorter now, and counts from the first issue',
      change: () => setRole({ policies: ['p'], scopes: ['a'], maxTtlSeconds: 1000, ...CLAIMS }),
      expected: 400,
    },
    {
      name: 'maxTtl is longer now, which was not promised',
      change: () =>
        setRole({
          policies: ['p'],
          scopes: ['a'],
          ttlSeconds: 9000,
          maxTtlSeconds: 9000,
          ...CLAIMS,
        }),
      expected: 3000,
    },
    {
      name: 'maxTtl has passed now',
      change: () => setRole({ policies: ['p'], scopes: ['a'], maxTtlSeconds: 600, ...CLAIMS }),
      expected: 'token_expired',
      failed: 'exp',
    },
    {
      name: 'a pod is required, and it has one',
      change: () => setRole({ policies: ['p'], scopes: ['a'], ...CLAIMS }, { requirePod: true }),
      expected: 900,
    },
  ];
  const CLAIMS = { claims: { tenant: 'shop' } };

  for (const { name, change, expected, failed } of CHANGES) {
    it(`are ${typeof expected === 'number' ? `renewed by ${expected} s` : `refused as ${expected}`} where ${name}`, async () => {
      setRole({ policies: ['p'], scopes: ['a'], ...CLAIMS });
      const token = await world.grant({}, 'vault');
      await world.clock.advance(600_000);
      change();
      const decision = await renew(token);
      if (typeof expected === 'number') {
        expect(decision.outcome, decision.detail).to.equal('allow');
        expect(await endOf(token)).to.equal(expected);
        return;
      }
      expect(decision).to.include({ outcome: 'deny', reason: expected, action: 'renew' });
      if (failed !== undefined) expect(decision.failed?.claim).to.equal(failed);
      // It was not prolonged, and not ended either.
      expect(await endOf(token)).to.equal(300);
    });
  }

  it('do not outlive the subject token by renewals, where the role says so', async () => {
    setRole({ outliveSubject: false, ttlSeconds: 3000, maxTtlSeconds: 9000 });
    const token = await world.grant({}, 'vault');
    await world.clock.advance(2_000_000);
    await renew(token);
    expect(await endOf(token)).to.equal(1600);
  });

  it('of no pod live an hour at most, renewed or not', async () => {
    setRole({ ttlSeconds: 3000, maxTtlSeconds: 9000 });
    const bound = await world.grant({}, 'vault');
    const unbound = await world.grant({ pod: null } as never, 'vault');
    await world.clock.advance(2_000_000);
    await renew(unbound);
    await renew(bound);
    expect([await endOf(unbound), await endOf(bound)]).to.eql([1600, 3000]);
  });

  it('cannot be renewed once revoked, not even by who looked them up before', async () => {
    const token = await world.grant({}, 'vault');
    const live = await world.tokens.findLive(token);
    if (!live) throw new Error('not live');
    await world.revoker.revokeShown(token);
    const { decision } = await world.desk.renew(live, CONTEXT);
    expect(decision).to.include({ outcome: 'deny', reason: 'bearer_invalid' });
    expect(await isLive(token)).to.equal(false);
  });

  it('alone are renewed: a JWT is replaced by another exchange', async () => {
    const live = await world.tokens.findLive(await world.grant());
    if (!live) throw new Error('not live');
    const { decision } = await world.desk.renew(live, CONTEXT);
    expect(decision).to.include({ outcome: 'deny', reason: 'token_type_unsupported' });
  });
});
