// Step 6: what the broker says to every kind of token that this API server hands out, and to forgeries of them. The one
// that is allowed stands first; each of the others differs from it in one thing.
import { generateKeyPairSync, sign } from 'node:crypto';
import { expect } from 'chai';
import { decodeJwt } from 'jose';
import { keep, noteToken } from '../../support/tokens.ts';
import { waitFor } from '../harness/process.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { type FirstTokenStage, setFirstTokenStage, toRole } from './first-token-stage.ts';
import type { StoredPod } from './stored-pod.ts';

interface Case {
  name: string;
  /** The subject token. */
  token: () => Promise<string>;
  /** The audience asked for; left out of the form where undefined. */
  audience?: string;
  status: number;
  error?: string;
  reason?: string;
  needsControllers?: boolean;
}

describe('step 6: tokens of a real API server at the token endpoint', function () {
  this.timeout(60_000);
  let stage: FirstTokenStage;
  let pod: StoredPod;
  let stranger: StoredPod;
  before(async () => {
    stage = await setFirstTokenStage([toRole('payments-checkout', 'payments', 'checkout')]);
    const annotations = { audience: 'payments' };
    pod = await stage.createPod({ serviceAccount: 'checkout', annotations });
    stranger = await stage.createPod({ serviceAccount: 'stranger', annotations });
  });
  after(() => stage?.clear());

  const CASES: readonly Case[] = [
    {
      name: 'a token of the pod for the audience',
      token: () => stage.requestToken(pod, ['payments']),
      audience: 'payments',
      status: 200,
    },
    {
      name: 'the same token without naming the audience',
      token: () => stage.requestToken(pod, ['payments']),
      status: 200,
    },
    {
      name: 'a token of a pod whose ServiceAccount no role names',
      token: () => stage.requestToken(stranger, ['payments']),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'no_role',
    },
    {
      name: 'a token for another audience',
      token: () => stage.requestToken(pod, ['ledger']),
      audience: 'payments',
      status: 400,
      error: 'invalid_target',
      reason: 'target_refused',
    },
    {
      name: 'a token for another audience that does not say what it wants',
      token: () => stage.requestToken(pod, ['ledger']),
      status: 400,
      error: 'invalid_request',
      reason: 'no_role',
    },
    {
      name: "a token for the API server's own audience",
      token: () => stage.requestToken(pod),
      audience: 'payments',
      status: 400,
      error: 'invalid_target',
      reason: 'target_refused',
    },
    {
      name: 'a token for the audience and one more',
      token: () => stage.requestToken(pod, ['payments', 'ledger']),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'token_audience',
    },
    {
      name: 'a token of the ServiceAccount that is bound to no pod',
      token: () =>
        requestToken(stage.cluster, {
          namespace: stage.namespace.name,
          serviceAccount: 'checkout',
          audiences: ['payments'],
        }),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'token_unbound',
    },
    {
      name: 'a token from a Secret, which never expires',
      token: () => readSecretToken('checkout'),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'token_issuer',
      needsControllers: true,
    },
    {
      name: "the pod's token with another pod's name in it",
      token: async () =>
        withPayload(await stage.requestToken(pod, ['payments']), (text) =>
          text.replaceAll(pod.name, stranger.name),
        ),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'token_signature',
    },
    {
      name: "the pod's token signed by a key of someone's own",
      token: async () => signAgain(await stage.requestToken(pod, ['payments'])),
      audience: 'payments',
      status: 400,
      error: 'invalid_request',
      reason: 'token_signature',
    },
  ];

  for (const { name, token, audience, status, error, reason, needsControllers } of CASES) {
    it(`${status === 200 ? 'takes' : 'refuses'} ${name}${reason ? ` (${reason})` : ''}`, async function () {
      if (needsControllers && !stage.cluster.facts.hasControllers) return this.skip();
      const answer = await stage.broker.send('/oauth2/token', {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: noteToken(await token()),
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        ...(audience !== undefined && { audience }),
      });
      expect(answer.status, answer.status === 200 ? '' : answer.text).to.equal(status);
      if (status === 200) {
        const issued = noteToken(String(answer.body.access_token));
        expect(decodeJwt(issued)).to.include({ aud: 'payments', cluster: 'under-test' });
      } else {
        keep('token-endpoint-error.json', answer.text);
        expect(answer.body).to.include({ error, reason });
        expect(answer.body).to.not.have.property('access_token');
      }
      return undefined;
    });
  }

  /** The old way: a Secret that the token controller fills. */
  async function readSecretToken(serviceAccount: string): Promise<string> {
    const path = `/api/v1/namespaces/${stage.namespace.name}/secrets`;
    await stage.cluster.request('POST', path, {
      metadata: {
        name: 'old-token',
        annotations: { 'kubernetes.io/service-account.name': serviceAccount },
      },
      type: 'kubernetes.io/service-account-token',
    });
    const read = async () => {
      const { body } = await stage.cluster.request('GET', `${path}/old-token`);
      return (body.data as { token?: string } | undefined)?.token;
    };
    await waitFor(async () => (await read()) !== undefined, { what: 'the token controller' });
    return Buffer.from((await read()) ?? '', 'base64').toString();
  }
});

function withPayload(token: string, change: (text: string) => string): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const text = Buffer.from(payload, 'base64url').toString();
  const changed = change(text);
  expect(changed).to.not.equal(text);
  return [header, Buffer.from(changed).toString('base64url'), signature].join('.');
}

/** The same header, `kid` included, and the same claims. */
function signAgain(token: string): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = token.slice(0, token.lastIndexOf('.'));
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}
