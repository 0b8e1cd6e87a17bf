// Power grows only downwards: what a caller hands on, as a role or as a token, must lie within what it has itself.
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Problem } from '../common/documents.ts';
import type { Capabilities, CapableCaller } from './capabilities.ts';
import { findNeeds, isBrokerPolicy, isWithinPolicies } from './policies.ts';

/** The first token of a broker. It lives an hour and exists to make the tokens that come after it. */
export const BOOTSTRAP_NAME = 'bootstrap';

/** A caller, and what its token says of itself where it has one of ours. */
export interface GivingCaller extends CapableCaller {
  readonly token?: {
    readonly kind: string;
    readonly name?: string;
    readonly audience?: string;
    readonly scopes: readonly string[];
    readonly expiresAt: number;
  };
}

export interface HandedOn {
  readonly policies: readonly string[];
  readonly audience?: string;
  readonly scopes: readonly string[];
  /** The longest life that can come of it. */
  readonly ttlSeconds: number;
}

/** Where each part stands in the caller's document. */
export type PartPaths = Readonly<Record<'policies' | 'audience' | 'scopes' | 'ttl', string>>;

export interface WithinDeps {
  readonly capabilities: Capabilities;
  readonly clock: Clock;
}

/**
 * What goes beyond the caller's own: empty where nothing does. The operator's ceilings are checked elsewhere, and bind
 * whatever this says.
 * @throws BrokerError `kube_unavailable`
 */
export async function findBeyond(
  caller: GivingCaller,
  { wanted, paths }: { readonly wanted: HandedOn; readonly paths: PartPaths },
  { capabilities, clock }: WithinDeps,
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const [index, policy] of wanted.policies.entries()) {
    if (await mayHandOn(caller, policy, capabilities)) continue;
    problems.push({
      path: `${paths.policies}[${index}]`,
      problem: 'is more than the caller has itself',
    });
  }
  return [...problems, ...findBeyondToken(caller, { wanted, paths, clock })];
}

/**
 * Whether a caller may make a token for a receiver at all: whoever may write roles can have one for any audience anyway,
 * the right to make tokens alone reaches nobody. A caller whose own token has an audience is held to that by
 * {@link findBeyond}.
 * @throws BrokerError `kube_unavailable`
 */
export async function mayReachReceivers(
  caller: GivingCaller,
  capabilities: Capabilities,
): Promise<boolean> {
  return (
    caller.token?.audience !== undefined || (await capabilities.can(caller, 'create', 'roles'))
  );
}

async function mayHandOn(
  caller: CapableCaller,
  policy: string,
  capabilities: Capabilities,
): Promise<boolean> {
  if (caller.via !== 'workload') return isWithinPolicies(caller.policies, policy);
  // A word for receivers: whoever may write roles or tokens at all may use it, as in a TokenRole object.
  if (!isBrokerPolicy(policy)) return true;
  const needs = findNeeds(policy);
  if (!needs) return false;
  const answers = await Promise.all(
    needs.map(({ verb, resource }) => capabilities.can(caller, verb, resource)),
  );
  return answers.every((isAllowed) => isAllowed);
}

/** A token for one audience, or with little life left, brings forth nothing for another, and nothing that outlives it. */
function findBeyondToken(
  { token }: GivingCaller,
  { wanted, paths, clock }: { wanted: HandedOn; paths: PartPaths; clock: Clock },
): Problem[] {
  if (!token) return [];
  const problems: Problem[] = [];
  const add = (part: keyof PartPaths, problem: string) =>
    problems.push({ path: paths[part], problem });
  if (token.audience !== undefined) {
    if (wanted.audience !== token.audience)
      add('audience', "must be that of the caller's own token");
    if (!wanted.scopes.every((scope) => token.scopes.includes(scope)))
      add('scopes', "must be among those of the caller's own token");
  }
  const isBootstrap = token.kind === 'static' && token.name === BOOTSTRAP_NAME;
  const left = token.expiresAt - nowSeconds(clock);
  if (!isBootstrap && wanted.ttlSeconds > left)
    add('ttl', `must be at most ${Math.max(0, left)} s, what the caller's own token has left`);
  return problems;
}
