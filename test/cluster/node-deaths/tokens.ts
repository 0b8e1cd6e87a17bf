// Tokens of pods on the node, got as pods get them, and what the broker says of them over time.
import { noteToken } from '../../support/tokens.ts';
import type { Installation } from '../harness/node/installation.ts';
import type { NodeCluster } from '../harness/node/suite.ts';
import { requestToken } from '../harness/service-account-token.ts';

export interface PodTokens {
  readonly namespace: string;
  readonly pod: string;
  /** Bound to the pod, one for each audience. */
  readonly subjects: Readonly<Record<Audience, string>>;
  readonly jwt: string;
  readonly opaque: string;
}

/** `payments` gives JWTs, `orders` opaque tokens. */
export type Audience = 'payments' | 'orders';

const EXCHANGE = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
};

export function exchange(installation: Installation, subject: string, audience: Audience) {
  return installation.ask('/oauth2/token', { ...EXCHANGE, subject_token: subject, audience });
}

/** @throws Error where the pod gets none */
export async function getTokens(
  cluster: NodeCluster,
  installation: Installation,
  place: { namespace: string; pod: string; serviceAccount?: string },
): Promise<PodTokens> {
  const { namespace, pod, serviceAccount = 'default' } = place;
  const { metadata } = await cluster.getPod({ namespace, pod });
  const request = (audience: Audience) =>
    requestToken(cluster, {
      namespace,
      serviceAccount,
      audiences: [audience],
      pod: { name: pod, uid: metadata.uid },
    });
  const subjects = { payments: await request('payments'), orders: await request('orders') };
  const get = async (audience: Audience) => {
    const { status, text, body } = await exchange(installation, subjects[audience], audience);
    if (status !== 200) throw new Error(`exchange for ${audience}: ${status} ${text}`);
    return noteToken(String(body.access_token));
  };
  return { namespace, pod, subjects, jwt: await get('payments'), opaque: await get('orders') };
}

/** Asks as a receiver of both audiences. @throws Error where the broker does not answer */
export async function isActive(
  installation: Installation,
  { token, receiver }: { token: string; receiver: string },
): Promise<boolean> {
  const { status, text, body } = await installation.ask('/oauth2/introspect', { token }, receiver);
  if (status !== 200) throw new Error(`introspection: ${status} ${text}`);
  return body.active === true;
}

export interface Times {
  /** When the thing was last seen as it was before; at most one request before its watch event. */
  readonly before: number;
  readonly opaque: number;
  readonly jwt: number;
}

/**
 * Looks until both tokens are inactive.
 * @param isThere whether what the tokens hang on is still there; asked all the while
 * @returns when each thing happened, milliseconds
 */
export async function watchDeath(
  installation: Installation,
  { jwt, opaque }: Pick<PodTokens, 'jwt' | 'opaque'>,
  { receiver, isThere }: { receiver: string; isThere: () => Promise<boolean> },
): Promise<Times> {
  const deadline = performance.now() + 60_000;
  const until = async (isSo: () => Promise<boolean>) => {
    let last = performance.now();
    while (await isSo()) {
      if (performance.now() > deadline) throw new Error('nothing happened within a minute');
      last = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { last, now: performance.now() };
  };
  const [there, one, other] = await Promise.all([
    until(isThere),
    until(() => isActive(installation, { token: opaque, receiver })),
    until(() => isActive(installation, { token: jwt, receiver })),
  ]);
  return { before: there.last, opaque: one.now, jwt: other.now };
}

/** Prints both times, and gives the longer one. */
export function tell(what: string, { before, opaque, jwt }: Times): number {
  const toMs = (at: number) => `${Math.round(at - before)} ms`;
  console.log(`        ${what}: opaque inactive after ${toMs(opaque)}, JWT after ${toMs(jwt)}`);
  return Math.max(opaque, jwt) - before;
}
