// What workloads, receivers and administrators ask of a broker process, and the few answers that each may get. Anything
// else fails the test that asked. Every token is noted, and every text without one is kept.
import {
  GRANT_TOKEN_EXCHANGE,
  PATH_INTROSPECT,
  PATH_REVOKE,
  PATH_TOKEN,
  TOKEN_TYPE_JWT,
} from '../../common/protocol/oauth.ts';
import { noteToken } from '../support/tokens.ts';
import type { Answer, Send } from './http.ts';
import {
  AUDIENCES,
  type BrokerProcess,
  type Installation,
  type TokenKind,
} from './installation.ts';

/** `unavailable` is 503, `unanswered` no answer at all: of both nothing is known. */
export type Trouble = 'unavailable' | 'unanswered';

export interface Requests {
  /** The new token. */
  issue(on: BrokerProcess, kind: TokenKind, pod: number): Promise<{ token: string } | Trouble>;
  introspect(on: BrokerProcess, token: string): Promise<'active' | 'inactive' | Trouble>;
  revoke(on: BrokerProcess, token: string): Promise<'revoked' | Trouble>;
  /** The admin API, as whoever made the installation unless another bearer is given. */
  admin(
    on: BrokerProcess,
    route: `${NonNullable<Send['method']>} /api/${string}`,
    more?: { json?: unknown; bearer?: string },
  ): Promise<Answer | undefined>;
}

/** @param on registers the client that introspects */
export async function createRequests(
  installation: Installation,
  on: BrokerProcess,
): Promise<Requests> {
  const { bootstrapToken, keepAnswer } = installation;

  const admin: Requests['admin'] = async (
    broker,
    route,
    { json, bearer = bootstrapToken } = {},
  ) => {
    const [method, path = ''] = route.split(' ');
    const answer = await broker.http.send({
      method: method as NonNullable<Send['method']>,
      path,
      headers: { Authorization: `Bearer ${bearer}` },
      ...(json !== undefined && { json }),
    });
    const secret = answer?.body.token ?? answer?.body.secret;
    if (typeof secret === 'string') noteToken(secret);
    else keepAnswer(answer?.text ?? '');
    return answer;
  };

  const registered = await admin(on, 'POST /api/v1/clients', { json: { id: 'gateway' } });
  if (registered?.status !== 201) throw unexpected('registering a client', registered);
  const pair = `gateway:${String(registered.body.secret)}`;
  const headers = { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` };

  return {
    admin,
    issue: async (broker, kind, pod) => {
      const form = {
        grant_type: GRANT_TOKEN_EXCHANGE,
        subject_token: installation.subjectToken(kind, pod),
        subject_token_type: TOKEN_TYPE_JWT,
        audience: AUDIENCES[kind],
      };
      const answer = await broker.http.send({ path: PATH_TOKEN, form });
      if (answer?.status === 200) return { token: noteToken(String(answer.body.access_token)) };
      return toTrouble('an exchange', answer, keepAnswer);
    },
    introspect: async (broker, token) => {
      const answer = await broker.http.send({ path: PATH_INTROSPECT, form: { token }, headers });
      if (answer?.status !== 200) return toTrouble('introspection', answer, keepAnswer);
      keepAnswer(answer.text);
      return answer.body.active === true ? 'active' : 'inactive';
    },
    revoke: async (broker, token) => {
      const answer = await broker.http.send({ path: PATH_REVOKE, form: { token } });
      return answer?.status === 200 ? 'revoked' : toTrouble('a revocation', answer, keepAnswer);
    },
  };
}

function toTrouble(
  what: string,
  answer: Answer | undefined,
  keepAnswer: (text: string) => void,
): Trouble {
  if (!answer) return 'unanswered';
  keepAnswer(answer.text);
  if (answer.status === 503) return 'unavailable';
  throw unexpected(what, answer);
}

function unexpected(what: string, answer: Answer | undefined): Error {
  return new Error(`${what} was answered with ${answer?.status ?? 'nothing'}: ${answer?.text}`);
}
