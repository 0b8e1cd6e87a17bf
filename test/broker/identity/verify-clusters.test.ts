// Which cluster's keys a token is held against where several have its issuer, when keys are asked for once more, and what
// a refusal then says. Keys are given: what they verify is for keys.test.ts.
import { expect } from 'chai';
import type { Reason } from '../../../broker/errors.ts';
import type { ClusterWithKeys } from '../../../broker/identity/cluster-keys.ts';
import { TokenRefused } from '../../../broker/identity/refusal.ts';
import { createVerifier, type VerifierOptions } from '../../../broker/identity/verify.ts';
import { Secret } from '../../../common/secret.ts';
import { createFakeClock } from '../../support/clock.ts';
import { createSigningKey, mint, serviceAccountClaims } from '../../support/minting.ts';

const ISSUER = 'https://shared.test';
const OWN = 'https://broker.test';
const clock = createFakeClock();
const key = createSigningKey('ES256', 'k');
const tokenOf = (iss: unknown = ISSUER) =>
  new Secret(
    mint({
      key,
      claims: { ...serviceAccountClaims({ issuer: ISSUER, issuedAt: clock.now() / 1000 }), iss },
    }),
  );

interface Given {
  readonly name: string;
  readonly signs?: boolean;
  /** Signs once it was refreshed. */
  readonly signsAfterRefresh?: boolean;
  readonly mayLackKey?: boolean;
  readonly failure?: 'keys_unavailable';
}

function createClusters(...all: readonly Given[]): {
  keys: VerifierOptions['keys'];
  refreshed: string[];
} {
  const refreshed: string[] = [];
  const clusters = all.map((given) => {
    const cluster: ClusterWithKeys = {
      name: given.name,
      kind: 'kubernetes',
      issuers: [ISSUER],
      findSigner: () =>
        given.signs || (given.signsAfterRefresh && refreshed.includes(given.name))
          ? { cluster, key: {} as never }
          : undefined,
      mayLackKey: () => given.mayLackKey ?? false,
      findFailure: () => given.failure,
      refresh: async () => {
        refreshed.push(given.name);
      },
      findLoadedAt: () => undefined,
      hasUsableKeys: () => true,
      usableKeys: () => [],
    };
    return cluster;
  });
  return {
    refreshed,
    keys: {
      clusters,
      findSharing: () => undefined,
    },
  };
}

async function verify(keys: VerifierOptions['keys'], token: Secret = tokenOf()): Promise<unknown> {
  try {
    const subject = await createVerifier({ keys, ownIssuers: [OWN], clock }).verify(token);
    return subject.identity.kind === 'workload' ? subject.identity.cluster : subject.identity.kind;
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    return error;
  }
}

async function refuse(keys: VerifierOptions['keys'], token?: Secret): Promise<TokenRefused> {
  const refused = await verify(keys, token);
  if (!(refused instanceof TokenRefused)) throw new TypeError(`not refused: ${String(refused)}`);
  return refused;
}

describe('clusters with one issuer', () => {
  const rows: readonly {
    title: string;
    clusters: readonly Given[];
    expected: string;
    refreshed?: readonly string[];
  }[] = [
    {
      title: 'the first whose key it is',
      clusters: [{ name: 'a', signs: true }, { name: 'b' }],
      expected: 'a',
    },
    {
      title: 'the second, where it is that one’s',
      clusters: [{ name: 'a' }, { name: 'b', signs: true }],
      expected: 'b',
    },
    {
      title: 'the one that lacked the key until it was asked again',
      clusters: [{ name: 'a' }, { name: 'b', mayLackKey: true, signsAfterRefresh: true }],
      expected: 'b',
      refreshed: ['b'],
    },
  ];
  for (const { title, clusters, expected, refreshed = [] } of rows) {
    it(`a token belongs to ${title}`, async () => {
      const world = createClusters(...clusters);
      expect(await verify(world.keys)).to.equal(expected);
      expect(world.refreshed).to.deep.equal(refreshed);
    });
  }

  const refused: readonly {
    title: string;
    clusters: readonly Given[];
    reason: Reason;
    refreshed?: readonly string[];
  }[] = [
    {
      title: 'by a known key’s bad signature, without asking for keys again',
      clusters: [{ name: 'a' }, { name: 'b', signsAfterRefresh: true }],
      reason: 'token_signature',
    },
    {
      title: 'by an unknown key that a refresh does not bring, of the one asked alone',
      clusters: [{ name: 'a', mayLackKey: true }, { name: 'b' }],
      reason: 'token_signature',
      refreshed: ['a'],
    },
    {
      title: 'as undecided while the first has no keys',
      clusters: [{ name: 'a', failure: 'keys_unavailable' }, { name: 'b' }],
      reason: 'keys_unavailable',
    },
    {
      title: 'as undecided while only the second has no keys',
      clusters: [{ name: 'a' }, { name: 'b', failure: 'keys_unavailable' }],
      reason: 'keys_unavailable',
    },
  ];
  for (const { title, clusters, reason, refreshed = [] } of refused) {
    it(`a token is refused ${title}`, async () => {
      const world = createClusters(...clusters);
      expect((await refuse(world.keys)).reason).to.equal(reason);
      expect(world.refreshed).to.deep.equal(refreshed);
    });
  }
});

describe('an issuer that is in no entry', () => {
  const { keys } = createClusters({ name: 'a', signs: true });
  const rows: readonly (readonly [string, unknown, string])[] = [
    [
      'is named, for the operator',
      'https://other.test',
      'iss "https://other.test" is in no entry of the clusters table',
    ],
    [
      'is named by its first 200 characters',
      `https://${'x'.repeat(300)}`,
      `iss "https://${'x'.repeat(192)}" is in no entry of the clusters table`,
    ],
    ['may be the broker itself', OWN, "a token of the broker's own"],
    ['may be no text', 5, 'iss is not a text'],
    ['may be a list of a known one', [ISSUER], 'iss is not a text'],
  ];
  for (const [title, iss, detail] of rows) {
    it(title, async () => {
      const refused = await refuse(keys, tokenOf(iss));
      expect([refused.reason, refused.detail]).to.deep.equal(['token_issuer', detail]);
      expect(refused.facts).to.have.all.keys('fingerprint');
    });
  }
});

describe('a verifier', () => {
  it('is not made over an entry with its own issuer', () => {
    const { keys } = createClusters({ name: 'a' });
    expect(() => createVerifier({ keys, ownIssuers: [OWN, ISSUER], clock })).to.throw(/own issuer/);
  });

  it('lets a bug through as what it is', async () => {
    const { keys } = createClusters({ name: 'a', signs: true });
    const broken = {
      ...keys,
      findSharing: () => {
        throw new TypeError('a bug');
      },
    };
    const error = await verify(broken).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(TypeError).with.property('message', 'a bug');
  });

  it('refuses a key that two entries have, and names both', async () => {
    const { keys } = createClusters({ name: 'a', signs: true });
    const refused = await refuse({ ...keys, findSharing: () => 'b' });
    expect([refused.reason, refused.detail]).to.deep.equal([
      'keys_unavailable',
      'its key is in the entries a and b',
    ]);
  });
});
