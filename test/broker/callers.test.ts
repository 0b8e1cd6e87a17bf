// What a caller is taken for, and the power that its token brings: only one made for the broker brings any.
import { expect } from 'chai';
import { createAuthenticate } from '../../broker/callers.ts';
import type { Clients } from '../../broker/clients.ts';
import type { Identity } from '../../broker/identity/identity.ts';
import type { LiveToken } from '../../broker/tokens/live.ts';

const ISSUER = 'https://broker.example';
const CLIENT: Identity = { kind: 'client', id: 'ci' };

function over(token: Partial<LiveToken>) {
  const live = { kind: 'jwt', subject: 'client:ci', policies: ['root'], ...token } as LiveToken;
  return createAuthenticate({
    tokens: {
      findLive: async (text) => (text === 'good' ? live : undefined),
      findJwt: () => undefined,
    },
    clients: {} as Clients,
    validate: () => {
      throw new Error('not asked for');
    },
    audiences: [ISSUER, 'coatcheck-control'],
  });
}

describe('callers with a token of ours', () => {
  const ROWS: readonly (readonly [name: string, token: Partial<LiveToken>, power: string[]])[] = [
    ['for the issuer', { audience: ISSUER, identity: CLIENT }, ['root']],
    ['for the control audience', { audience: 'coatcheck-control', identity: CLIENT }, ['root']],
    ['static, for nobody', { kind: 'static' }, ['root']],
    ['for a receiver', { audience: 'payments', identity: CLIENT }, []],
    ['for the issuer with a slash', { audience: `${ISSUER}/`, identity: CLIENT }, []],
    ['static, for a receiver', { kind: 'static', audience: 'payments' }, []],
    ['for an empty audience', { audience: '', identity: CLIENT }, []],
  ];
  for (const [name, token, power] of ROWS) {
    it(`${name}: ${power.length > 0 ? 'has its power' : 'has none'}`, async () => {
      const caller = await over(token)({ authorization: 'Bearer good' });
      expect(caller.policies).to.deep.equal(power);
      expect(caller.onlyAudience).to.equal(power.length > 0 ? undefined : token.audience);
      expect([caller.via, caller.subject]).to.deep.equal(['token', 'client:ci']);
    });
  }

  const REFUSED: readonly (readonly [name: string, authorization: string | undefined])[] = [
    ['no header', undefined],
    ['another token', 'Bearer other'],
    ['two tokens', 'Bearer good good'],
    ['no token', 'Bearer '],
    ['no scheme', 'good'],
    ['another scheme', 'Token good'],
    [
      'a token for another audience, which is not even validated',
      `Bearer ${toUnsigned({ aud: 'payments' })}`,
    ],
  ];
  for (const [name, authorization] of REFUSED) {
    it(`are nobody with ${name}`, async () => {
      const error = await over({})({ authorization }).catch((one: { reason?: string }) => one);
      expect(error).to.include({ reason: 'bearer_invalid' });
    });
  }

  it('take the scheme in any case of letters (RFC 9110 §11.1)', async () => {
    expect((await over({})({ authorization: 'bEARER good' })).via).to.equal('token');
  });
});

function toUnsigned(claims: object): string {
  return `eyJhbGciOiJub25lIn0.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
}
