// What a check is and how all of them are run: side by side, each for itself. One that fails, or takes too long, hides none
// of the others, and the order of what is told is that of the list.
import type { Clock } from '../../../common/clock.ts';
import type { PersonAnswer } from '../../../common/kube/person-client.ts';
import type { Installation } from './installation.ts';
import { type Kube, MissingRight, Unreadable } from './kube.ts';

export const STATES = ['ok', 'warning', 'problem', 'unknown'] as const;
/** `unknown`: this person, or this place, cannot see it; never that it is well. */
export type State = (typeof STATES)[number];

export interface Finding {
  readonly state: State;
  /** Which of several; a part, an object. */
  readonly about?: string;
  readonly seen: string;
  /** What follows from it, where it is not plain. */
  readonly means?: string;
  /** The command or the value that mends it. */
  readonly mend?: string;
}

export interface Row extends Finding {
  readonly check: string;
}

export interface DirectBroker {
  readonly url: string;
  /** @throws Unreadable */
  ask(path: string): Promise<PersonAnswer>;
}

export interface CheckContext {
  readonly kube: Kube;
  readonly clock: Clock;
  /** Of the kubeconfig's context. */
  readonly personNamespace: string;
  /** Where the pod of the dry run would be made; chosen where unset. */
  readonly probeNamespace: string | undefined;
  /** For the name of the pod of the dry run. */
  readonly randomName: () => string;
  /** Of this command. */
  readonly version: string;
  /** The broker at the URL that the person named, asked without any credential; else by the API server's proxy. */
  readonly directBroker?: DirectBroker;
  /** `iss` of the person's own credential, where it is a ServiceAccount token. */
  readonly ownIssuer: string | undefined;
}

export interface InstalledContext extends CheckContext {
  readonly installation: Installation;
}

/** `installed`: it looks at an installation, which was found. */
export type Check =
  | {
      readonly name: string;
      readonly needs: 'cluster';
      readonly run: (
        context: CheckContext & { readonly installation?: Installation },
      ) => Promise<readonly Finding[]>;
    }
  | {
      readonly name: string;
      readonly needs: 'installed';
      readonly run: (context: InstalledContext) => Promise<readonly Finding[]>;
    };

/** @param timeoutMs for all requests of one check together */
export async function runChecks(
  checks: readonly Check[],
  context: CheckContext & { readonly installation?: Installation },
  timeoutMs: number,
): Promise<readonly Row[]> {
  const { installation } = context;
  const run = async (check: Check): Promise<readonly Finding[]> => {
    if (check.needs === 'cluster') return check.run(context);
    return installation ? check.run({ ...context, installation }) : [];
  };
  const rows = await Promise.all(
    checks.map(async (check) => {
      const findings = await withDeadline(() => run(check), context.clock, timeoutMs);
      return findings.map((finding) => ({ check: check.name, ...finding }));
    }),
  );
  return rows.flat();
}

async function withDeadline(
  run: () => Promise<readonly Finding[]>,
  clock: Clock,
  timeoutMs: number,
): Promise<readonly Finding[]> {
  const done = new AbortController();
  const deadline = clock
    .sleep(timeoutMs, done.signal)
    .then((): readonly Finding[] => [
      { state: 'unknown', seen: `it took longer than ${timeoutMs / 1000} s`, mend: 'ask again' },
    ])
    .catch(() => []);
  try {
    return await Promise.race([run(), deadline]);
  } catch (error) {
    return [toFinding(error)];
  } finally {
    done.abort();
  }
}

/** A failure of the looking, not of what was looked at. */
export function toFinding(error: unknown): Finding {
  if (error instanceof MissingRight)
    return {
      state: 'unknown',
      seen: `no right to ${error.right}`,
      mend: 'ask somebody who has that right to run this, or to give it to you',
    };
  if (error instanceof Unreadable) return { state: 'unknown', seen: error.message };
  // An object of a shape that no API server sends; the message may quote it.
  return { state: 'unknown', seen: `it could not be looked at (${(error as Error).name})` };
}

/** Findings of one kind of things: only what is not well, or one line that all is. */
export function orAllWell(bad: readonly Finding[], well: string): readonly Finding[] {
  return bad.length > 0 ? bad : [{ state: 'ok', seen: well }];
}

/** Each of several for itself: one that cannot be read hides none of the others. */
export async function forEach<T>(
  items: readonly T[],
  look: (item: T) => Promise<readonly Finding[]>,
  nameOf: (item: T) => string,
): Promise<readonly Finding[]> {
  const findings = await Promise.all(
    items.map(async (item) => {
      try {
        return await look(item);
      } catch (error) {
        return [{ about: nameOf(item), ...toFinding(error) }];
      }
    }),
  );
  return findings.flat();
}
