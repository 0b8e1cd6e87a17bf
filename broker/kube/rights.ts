// Whether the API server lets the broker do what its configuration needs: asked at the start and now and then, so that a
// missing right is a line in the log and not a riddle at the first request.
import type { Clock } from '../../common/clock.ts';
import type { AccessAttributes, AccessReviews } from '../../common/kube/access.ts';
import type { Logger } from '../../common/log.ts';

export interface NeededRight {
  readonly attributes: AccessAttributes;
  /** What does not work without, the end of a sentence. */
  readonly for: string;
}

const TOKEN_ROLES = { group: 'auth.example.io', resource: 'tokenroles' } as const;

export const RIGHTS = {
  tokenReviews: [
    {
      attributes: { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
      for: 'validating ServiceAccount tokens by TokenReview',
    },
  ],
  accessReviews: [
    {
      attributes: {
        verb: 'create',
        group: 'authorization.k8s.io',
        resource: 'subjectaccessreviews',
      },
      for: 'deciding by RBAC what ServiceAccounts may do at the admin API',
    },
  ],
  tokenRoles: [
    { attributes: { ...TOKEN_ROLES, verb: 'list' }, for: 'reading TokenRoles' },
    { attributes: { ...TOKEN_ROLES, verb: 'watch' }, for: 'following changes of TokenRoles' },
    {
      attributes: { ...TOKEN_ROLES, verb: 'patch', subresource: 'status' },
      for: 'saying in the status of a TokenRole whether it is in use',
    },
  ],
  namespaces: [
    { attributes: { verb: 'list', group: '', resource: 'namespaces' }, for: 'namespaceSelector' },
    { attributes: { verb: 'watch', group: '', resource: 'namespaces' }, for: 'namespaceSelector' },
  ],
} as const satisfies Record<string, readonly NeededRight[]>;

export interface RightsCheck {
  /** Rights that the API server said no to, as `create tokenreviews.authentication.k8s.io`. */
  missing(): readonly string[];
  /** Asks once; never rejects. */
  check(): Promise<void>;
  /** Asks now, and goes on. Resolves after the first time. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface RightsCheckOptions {
  readonly access: Pick<AccessReviews, 'canI'>;
  /** Asked each time: roles that come later may need more. */
  readonly findNeeded: () => readonly NeededRight[];
  /** After each time. */
  readonly onChecked?: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

const RECHECK_MS = 60_000;

export function createRightsCheck(options: RightsCheckOptions): RightsCheck {
  const { access, findNeeded, clock, log } = options;
  let missing: ReadonlySet<string> = new Set();
  let isUnknown = false;
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();

  /** Undefined where the API server does not say. */
  async function ask(needed: ReadonlyMap<string, NeededRight>): Promise<Set<string> | undefined> {
    const refused = new Set<string>();
    try {
      for (const [text, { attributes }] of needed) {
        if (!(await access.canI(attributes)).allowed) refused.add(text);
      }
      return refused;
    } catch (error) {
      if (!isUnknown) log.warn({ err: error }, 'the rights of the broker could not be checked');
      return undefined;
    }
  }

  async function check(): Promise<void> {
    const needed = new Map(findNeeded().map((right) => [toText(right), right]));
    const next = await ask(needed);
    isUnknown = next === undefined;
    // What was missing stays missing until the API server says otherwise.
    if (!next) return;
    for (const right of without(next, missing))
      log.warn({ right, for: needed.get(right)?.for }, 'the broker lacks a right it needs');
    for (const right of without(missing, next))
      log.info({ right }, 'the broker does not lack this right any more');
    missing = next;
  }

  async function checkAndTell(): Promise<void> {
    await check();
    options.onChecked?.();
  }

  return {
    missing: () => [...missing],
    check,
    start: async () => {
      await checkAndTell();
      const loop = async () => {
        while (!stopping.signal.aborted) {
          await clock.sleep(RECHECK_MS, stopping.signal).catch(() => undefined);
          if (!stopping.signal.aborted) await checkAndTell();
        }
      };
      running = loop();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

function without(some: ReadonlySet<string>, others: ReadonlySet<string>): readonly string[] {
  return [...some].filter((one) => !others.has(one));
}

function toText({ attributes: { verb, group, resource, subresource } }: NeededRight): string {
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  return `${verb} ${what}${group === '' ? '' : `.${group}`}`;
}
