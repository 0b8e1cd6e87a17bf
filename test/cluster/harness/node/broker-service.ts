// An installed broker as a receiver of its tokens sees it: by the address of its Service, its certificate verified by name,
// its keys found by discovery.
import { request } from 'node:https';
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { noteToken } from '../../../support/tokens.ts';

export interface BrokerAnswer {
  readonly status: number;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface BrokerService {
  /**
   * A request; `form` makes it a POST, `bearer` says who asks.
   * @throws where nobody answers, or with another certificate.
   */
  ask(
    path: string,
    form?: Readonly<Record<string, string>>,
    bearer?: string,
  ): Promise<BrokerAnswer>;
  /** The claims of a client token for `audience`, by the keys of the broker's discovery. @throws for any other. */
  verify(token: string, audience: string): Promise<JWTPayload>;
}

export interface BrokerPlace {
  /** ClusterIP. */
  address: string;
  /** The name in its certificate, and in its issuer. */
  host: string;
  /** PEM. */
  ca: string;
}

/** Asks nothing yet. */
export function openBrokerService(place: BrokerPlace): BrokerService {
  const issuer = `https://${place.host}`;
  const ask: BrokerService['ask'] = (path, form, bearer) => send(place, { path, form, bearer });
  return {
    ask,
    verify: async (token, audience) => {
      noteToken(token);
      const discovery = await ask('/.well-known/openid-configuration');
      if (discovery.body.issuer !== issuer) throw new Error(`discovery: ${discovery.text}`);
      const keys = await ask(new URL(String(discovery.body.jwks_uri)).pathname);
      const set = createLocalJWKSet(keys.body as unknown as JSONWebKeySet);
      const { payload } = await jwtVerify(token, set, { issuer, audience, typ: 'at+jwt' });
      return payload;
    },
  };
}

function send(
  { address, host, ca }: BrokerPlace,
  {
    path,
    form,
    bearer,
  }: {
    path: string;
    form: Readonly<Record<string, string>> | undefined;
    bearer: string | undefined;
  },
): Promise<BrokerAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: address,
        servername: host,
        ca,
        path,
        agent: false,
        timeout: 10_000,
        method: form === undefined ? 'GET' : 'POST',
        headers: {
          Host: host,
          ...(bearer !== undefined && { Authorization: `Bearer ${bearer}` }),
          ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }),
        },
      },
      (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        answer.once('error', reject);
        answer.once('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            text,
            body: JSON.parse(text) as BrokerAnswer['body'],
          }),
        );
      },
    );
    sent.once('timeout', () => sent.destroy(new Error(`${path}: no answer`)));
    sent.once('error', reject);
    sent.end(form && new URLSearchParams(form).toString());
  });
}
