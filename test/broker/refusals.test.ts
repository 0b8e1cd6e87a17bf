// Every reason of the table, reached over HTTP: status, error, public reason and text for the caller, exact reason in the
// audit, and beside each the near miss that is served.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { OAUTH_ERRORS } from '../../broker/dialects/oauth/errors.ts';
import { BrokerError, REASONS, type Reason } from '../../broker/errors.ts';
import { parseClusters } from '../../broker/identity/clusters.ts';
import { issueAuthority } from '../../common/certificates.ts';
import { startIssuer } from '../support/issuer.ts';
import {
  type Answer,
  type Parameters,
  startTestBroker,
  type TestBroker,
  toForm,
} from './harness.ts';

interface Row {
  readonly name: string;
  readonly reason: Reason;
  /** A field of the audit's first failed claim. */
  readonly failed?: string;
  /** What the caller hears of itself besides the fixed text. */
  readonly own?: string;
  readonly refused: (broker: TestBroker) => Promise<Answer>;
  readonly allowed: (broker: TestBroker) => Promise<Answer>;
}

const OWN = 'namespace shop, ServiceAccount checkout';
const exchange = (parameters: (broker: TestBroker) => Parameters) => (broker: TestBroker) =>
  broker.exchange({ subject_token: broker.issuer.token(), ...parameters(broker) });
const plain = exchange(() => ({}));
const token = (options: Parameters[string] | Parameters | object) => (broker: TestBroker) =>
  broker.exchange({ subject_token: broker.issuer.token(options as object) });
const post = (body: (broker: TestBroker) => string, type: string) => (broker: TestBroker) =>
  broker.request('/oauth2/token', {
    method: 'POST',
    body: body(broker),
    headers: { 'Content-Type': type },
  });
const form = (broker: TestBroker) => toForm({ subject_token: broker.issuer.token() }).toString();
const FORM = 'application/x-www-form-urlencoded';

const ROWS: readonly Row[] = [
  {
    name: 'another content type',
    reason: 'body_invalid',
    refused: post(form, 'application/json'),
    allowed: post(form, `${FORM}; charset=UTF-8`),
  },
  {
    name: 'another charset',
    reason: 'body_invalid',
    refused: post(form, `${FORM}; charset=latin1`),
    allowed: post(form, FORM),
  },
  {
    name: 'a body over 64 KiB',
    reason: 'body_invalid',
    refused: post((b) => `${form(b)}&pad=${'x'.repeat(65_536)}`, FORM),
    allowed: post((b) => `${form(b)}&pad=${'x'.repeat(60_000)}`, FORM),
  },
  {
    name: 'a body of 3 MB',
    reason: 'body_invalid',
    refused: post((b) => `${form(b)}&pad=${'x'.repeat(3_000_000)}`, FORM),
    allowed: plain,
  },
  {
    name: 'a stray percent sign',
    reason: 'body_invalid',
    refused: post((b) => `${form(b)}&pad=%zz`, FORM),
    allowed: post((b) => `${form(b)}&pad=%7a`, FORM),
  },
  {
    name: 'no subject_token',
    reason: 'parameter_missing',
    refused: exchange(() => ({ subject_token: undefined })),
    allowed: plain,
  },
  {
    name: 'an empty subject_token',
    reason: 'parameter_missing',
    refused: exchange(() => ({ subject_token: '' })),
    allowed: plain,
  },
  {
    name: 'no grant_type',
    reason: 'parameter_missing',
    refused: exchange(() => ({ grant_type: undefined })),
    allowed: plain,
  },
  {
    name: 'no subject_token_type',
    reason: 'parameter_missing',
    refused: exchange(() => ({ subject_token_type: undefined })),
    allowed: plain,
  },
  {
    name: 'scope twice',
    reason: 'parameter_repeated',
    refused: exchange(() => ({ scope: ['payments:read', 'payments:write'] })),
    allowed: exchange(() => ({ scope: ['payments:read', ''] })),
  },
  {
    name: 'the subject token twice',
    reason: 'parameter_repeated',
    refused: exchange((b) => ({ subject_token: [b.issuer.token(), b.issuer.token()] })),
    allowed: plain,
  },
  {
    name: 'an actor token',
    reason: 'parameter_invalid',
    refused: exchange((b) => ({ actor_token: b.issuer.token() })),
    allowed: exchange(() => ({ actor_token: '' })),
  },
  {
    name: 'a role that is no name',
    reason: 'parameter_invalid',
    refused: exchange(() => ({ role: '../payments' })),
    allowed: exchange(() => ({ role: 'payments-checkout' })),
  },
  {
    name: 'client_credentials',
    reason: 'grant_unsupported',
    refused: exchange(() => ({ grant_type: 'client_credentials' })),
    allowed: plain,
  },
  {
    name: 'a subject of type access_token',
    reason: 'token_type_unsupported',
    refused: exchange(() => ({
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    })),
    allowed: plain,
  },
  {
    name: 'a requested refresh token',
    reason: 'token_type_unsupported',
    refused: exchange(() => ({
      requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token',
    })),
    allowed: exchange(() => ({ requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' })),
  },
  {
    name: 'a text that is no token',
    reason: 'token_malformed',
    refused: exchange(() => ({ subject_token: 'not-a-token' })),
    allowed: plain,
  },
  {
    name: 'a foreign issuer',
    reason: 'token_issuer',
    refused: token({ issuer: 'https://elsewhere.example' }),
    allowed: plain,
  },
  {
    name: 'a changed payload',
    reason: 'token_signature',
    refused: exchange((b) => ({
      subject_token: b.issuer.token({
        mint: { edit: ([h, p, s]) => [h, p, `${s.slice(0, -8)}AAAAAAAA`] },
      }),
    })),
    allowed: plain,
  },
  {
    name: 'an expired token',
    reason: 'token_expired',
    failed: 'exp',
    own: OWN,
    refused: (b) => token({ issuedAt: now() - 4000 })(b),
    allowed: (b) => token({ issuedAt: now() - 3000 })(b),
  },
  {
    name: 'a token within the leeway, with no life left to give',
    reason: 'token_expired',
    failed: 'exp',
    own: OWN,
    refused: (b) => token({ issuedAt: now() - 3610 })(b),
    allowed: (b) => token({ issuedAt: now() - 3500 })(b),
  },
  {
    name: 'a token of the future',
    reason: 'token_not_yet_valid',
    failed: 'iat',
    own: OWN,
    refused: (b) => token({ issuedAt: now() + 300 })(b),
    allowed: (b) => token({ issuedAt: now() + 10 })(b),
  },
  {
    name: 'a token without kubernetes.io',
    reason: 'token_claims',
    refused: token({ claims: { 'kubernetes.io': undefined } }),
    allowed: plain,
  },
  {
    name: 'several audiences and none asked for',
    reason: 'token_audience',
    failed: 'aud',
    own: OWN,
    refused: token({ audiences: ['multi', 'payments'] }),
    allowed: token({ audiences: ['multi'] }),
  },
  {
    name: 'a further audience the role does not allow',
    reason: 'token_audience',
    failed: 'aud',
    own: OWN,
    refused: exchange((b) => ({
      subject_token: b.issuer.token({ audiences: ['multi', 'payments'] }),
      audience: 'payments',
    })),
    allowed: exchange((b) => ({
      subject_token: b.issuer.token({ audiences: ['multi', 'payments'] }),
      audience: 'multi',
    })),
  },
  {
    name: 'a token without a pod',
    reason: 'token_unbound',
    failed: 'kubernetes.io.pod',
    own: OWN,
    refused: token({ pod: null, node: null }),
    allowed: token({ pod: null, node: null, audiences: ['batch'] }),
  },
  {
    name: 'an audience the token does not have',
    reason: 'target_refused',
    failed: 'aud',
    own: OWN,
    refused: exchange(() => ({ audience: 'batch' })),
    allowed: exchange(() => ({ audience: 'payments' })),
  },
  {
    name: 'several audiences in the request',
    reason: 'target_refused',
    refused: exchange(() => ({ audience: ['payments', 'batch'] })),
    allowed: exchange(() => ({ audience: ['payments', 'payments'] })),
  },
  {
    name: 'a scope that is blank',
    reason: 'scope_refused',
    refused: exchange(() => ({ scope: '  ' })),
    allowed: exchange(() => ({ scope: ' payments:read  payments:write ' })),
  },
  {
    name: 'more scopes than a role can hold',
    reason: 'scope_refused',
    refused: exchange(() => ({ scope: Array.from({ length: 101 }, (_, i) => `s${i}`).join(' ') })),
    allowed: exchange(() => ({ scope: 'payments:read '.repeat(101) })),
  },
  {
    name: 'a scope longer than a role can hold',
    reason: 'scope_refused',
    refused: exchange(() => ({ scope: 'a'.repeat(129) })),
    allowed: exchange(() => ({ scope: 'payments:read' })),
  },
  {
    name: 'a scope outside the role',
    reason: 'scope_refused',
    failed: 'scope',
    own: OWN,
    refused: exchange(() => ({ scope: 'payments:read payments:admin' })),
    allowed: exchange(() => ({ scope: 'payments:read payments:write' })),
  },
  {
    name: 'a role that does not exist',
    reason: 'role_unknown',
    failed: 'role',
    own: OWN,
    refused: exchange(() => ({ role: 'nobody' })),
    allowed: exchange(() => ({ role: 'payments-checkout' })),
  },
  {
    name: 'an audience of no role',
    reason: 'role_unknown',
    failed: 'aud',
    own: OWN,
    refused: token({ audiences: ['nothing'] }),
    allowed: plain,
  },
  {
    name: 'another namespace',
    reason: 'role_mismatch',
    failed: 'kubernetes.io.namespace',
    own: 'namespace shop2, ServiceAccount checkout',
    refused: token({ namespace: 'shop2' }),
    allowed: token({ namespace: 'shop' }),
  },
  {
    name: 'another ServiceAccount',
    reason: 'role_mismatch',
    failed: 'kubernetes.io.serviceaccount.name',
    own: 'namespace shop, ServiceAccount checkout2',
    refused: token({ serviceAccount: 'checkout2' }),
    allowed: plain,
  },
  {
    name: 'two roles that fit alike',
    reason: 'role_ambiguous',
    failed: 'role',
    own: OWN,
    refused: token({ audiences: ['twins'] }),
    allowed: exchange((b) => ({
      subject_token: b.issuer.token({ audiences: ['twins'] }),
      role: 'twin-a',
    })),
  },
  {
    name: 'a client secret',
    reason: 'client_unauthenticated',
    refused: exchange(() => ({ client_id: 'me', client_secret: 'guess' })),
    allowed: exchange(() => ({ client_id: 'me' })),
  },
];

function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** Reached by tests of their own, below and elsewhere. */
const ELSEWHERE: readonly Reason[] = [
  'not_found',
  'method_not_allowed',
  'keys_unavailable',
  'kube_unavailable',
  'audit_unavailable',
  'review_refused',
  'review_mismatch',
  'subject_dead',
  'too_many_requests',
  'internal',
  // Of other endpoints than the token endpoint, or of the store.
  'revocation_unsupported',
  'document_invalid',
  'body_too_large',
  'media_type_unsupported',
  'bearer_invalid',
  'bearer_forbidden',
  'beyond_own',
  'conflict',
  'key_conflict',
  'version_mismatch',
  'store_missing',
  'store_unavailable',
  'revocation_pending',
];

describe('refusals', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('refusals');
  });
  after(() => broker.stop());

  for (const { name, reason, refused, allowed, failed, own } of ROWS) {
    it(`refuses ${name}: ${reason}`, async () => {
      const count = broker.audit.length;
      const answer = await refused(broker);
      const { status, error } = OAUTH_ERRORS[reason];
      const { group, text } = REASONS[reason];
      expect(answer.status, answer.text).to.equal(status);
      expect(answer.body).to.have.all.keys(
        'error',
        'error_description',
        'reason',
        'correlation_id',
      );
      expect(answer.body).to.deep.include({ error, reason: group });
      const description = String(answer.body.error_description);
      if (own === undefined) expect(description).to.equal(text);
      else expect(description).to.match(new RegExp(`^${text} \\(${own}`));
      // RFC 6749 §5.2's characters.
      expect(description).to.match(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/);
      expect(answer.headers.get('x-request-id')).to.equal(answer.body.correlation_id);
      expect(answer.headers.get('cache-control')).to.equal('no-store');
      expect(broker.audit).to.have.length(count + 1);
      expect(broker.audit.at(-1)).to.deep.include({
        outcome: 'deny',
        reason,
        correlationId: answer.body.correlation_id,
      });
      if (failed !== undefined) expect(broker.audit.at(-1)?.failed?.claim).to.equal(failed);
      expect((await allowed(broker)).status, 'the near miss').to.equal(200);
    });
  }

  it('covers every reason', () => {
    const covered = new Set<string>([...ROWS.map(({ reason }) => reason), ...ELSEWHERE]);
    expect(Object.keys(REASONS).filter((reason) => !covered.has(reason))).to.deep.equal([]);
  });

  it('never names the roles of others', async () => {
    for (const audiences of [['others'], ['payments']]) {
      const answer = await broker.exchange({
        subject_token: broker.issuer.token({ audiences, namespace: 'elsewhere' }),
      });
      expect(answer.body.reason).to.equal('no_role');
      expect(answer.text).not.to.match(/secret-team|hidden|payments-checkout/);
    }
  });

  it('cannot be told apart: a role that exists and one that does not', async () => {
    const ask = async (role: string) => {
      const { body } = await broker.exchange({ subject_token: broker.issuer.token(), role });
      return { ...body, correlation_id: '' };
    };
    expect(await ask('others')).to.deep.equal(await ask('no-such-role'));
  });

  for (const scheme of ['Basic bWU6Z3Vlc3M=', 'Bearer abc']) {
    it(`challenges a client that used Authorization ${scheme.split(' ')[0]}`, async () => {
      const answer = await broker.exchange(
        { subject_token: broker.issuer.token() },
        { Authorization: scheme },
      );
      expect(answer.status).to.equal(401);
      expect(answer.headers.get('www-authenticate')).to.match(/^Basic realm=/);
      expect(answer.body).to.deep.include({
        error: 'invalid_client',
        reason: 'client_unauthenticated',
      });
    });
  }

  it('does not challenge where the secret was in the body', async () => {
    const answer = await broker.exchange({
      subject_token: broker.issuer.token(),
      client_secret: 'guess',
    });
    expect(answer.status).to.equal(401);
    expect(answer.headers.get('www-authenticate')).to.equal(null);
  });
});

describe('failures of ours', () => {
  it('answers 503 with Retry-After when the keys of the cluster are away, and never blames the token', async () => {
    const broker = await startTestBroker('keys-away');
    try {
      const other = await startTestBroker('keys-away-issuer');
      other.issuer.setMode({ status: 500 });
      const victim = await startTestBroker('keys-away-victim', { fake: other.issuer });
      const answer = await victim.exchange({ subject_token: other.issuer.token() });
      expect(answer.status, answer.text).to.equal(503);
      expect(answer.headers.get('retry-after')).to.equal('2');
      expect(answer.body).to.deep.include({
        error: 'temporarily_unavailable',
        reason: 'unavailable',
      });
      expect(victim.audit.at(-1)).to.deep.include({
        outcome: 'failure',
        reason: 'keys_unavailable',
      });
      await victim.stop();
      await other.stop();
      expect((await plain(broker)).status, 'the near miss').to.equal(200);
    } finally {
      await broker.stop();
    }
  });

  it('answers 503 when the API server refuses the credential of the broker, and never blames the token', async () => {
    const fake = await startIssuer();
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-credential-'));
    writeFileSync(path.join(folder, 'token'), 'refused');
    writeFileSync(
      path.join(folder, 'ca.crt'),
      issueAuthority({ commonName: 'test', notBefore: new Date(0), notAfter: new Date(2e12) })
        .certificate,
    );
    const apiServer = {
      url: fake.issuer,
      caFile: path.join(folder, 'ca.crt'),
      tokenFile: path.join(folder, 'token'),
    };
    const table = JSON.stringify({
      clusters: [{ name: 'local', kind: 'kubernetes', issuer: fake.issuer, keys: { apiServer } }],
    });
    const broker = await startTestBroker('credential-refused', {
      fake,
      clusters: parseClusters(table, { file: 'clusters.yaml' }),
    });
    try {
      const answer = await broker.exchange({ subject_token: fake.token() });
      expect(answer.status, answer.text).to.equal(503);
      expect(answer.body).to.deep.include({
        error: 'temporarily_unavailable',
        reason: 'unavailable',
      });
      expect(broker.audit.at(-1)).to.deep.include({
        outcome: 'failure',
        reason: 'kube_unavailable',
      });
    } finally {
      await broker.stop();
      await fake.close();
      rmSync(folder, { recursive: true });
    }
  });

  it('gives no token while the audit trail is not being written', async () => {
    let written = 0;
    let total = 0;
    const auditStream = {
      write: (line: string) => {
        total += line.length;
      },
      pendingBytes: () => total - written,
    };
    const broker = await startTestBroker('audit-stuck', { auditStream, maxPendingAuditBytes: 300 });
    try {
      expect((await plain(broker)).status).to.equal(200);
      const answer = await plain(broker);
      expect(answer.status).to.equal(503);
      expect(answer.body).to.deep.include({ reason: 'unavailable' });
      const ready = async () => (await fetch(`${broker.running.operationsUrl}/readyz`)).text();
      expect(await ready()).to.equal('the audit trail is not being written\n');
      written = total;
      expect((await plain(broker)).status, 'once it is written').to.equal(200);
      written = total;
      expect(await ready()).to.equal('ok\n');
    } finally {
      await broker.stop();
    }
  });

  it('answers 500 with a fixed sentence where something unexpected is thrown, and logs it once', async () => {
    const broken = {
      current: (): never => {
        throw new TypeError('a bug');
      },
    };
    const broker = await startTestBroker('bug', { keys: broken });
    try {
      const answer = await plain(broker);
      expect(answer.status).to.equal(500);
      expect(answer.body).to.deep.include({
        error: 'server_error',
        reason: 'internal',
        error_description: REASONS.internal.text,
      });
      expect(answer.text).not.to.contain('a bug');
      expect(broker.audit.at(-1)).to.deep.include({
        outcome: 'failure',
        reason: 'internal',
        role: 'payments-checkout',
      });
      expect(broker.log.filter(({ level }) => level === 'error')).to.have.length(1);
    } finally {
      await broker.stop();
    }
  });

  it('holds the fixed text of its reason where no detail is given', () => {
    expect(new BrokerError('internal').message).to.equal(REASONS.internal.text);
  });
});
