// Roles from TokenRole objects of the broker's own API server, kept by list and watch. While the API server is away the
// last roles stay; an object that is no role under this broker's limits gives none, whatever it gave before.
import type { Clock, Random } from '../../../common/clock.ts';
import type { KubeClient } from '../../../common/kube/client.ts';
import { type CollectionTrouble, createCollection } from '../../../common/kube/collection.ts';
import type { KubeObject } from '../../../common/kube/watch-stream.ts';
import type { Logger } from '../../../common/log.ts';
import type { Role } from '../role.ts';
import { createRoleParser, ROLE_API_VERSION, ROLE_KIND, type RoleLimits } from '../schema.ts';
import type { InvalidRole, RoleSource } from '../source.ts';

export const TOKEN_ROLES_PATH = `/apis/${ROLE_API_VERSION}/tokenroles`;

/** What is kept of an object: enough to decide by, and to write its status. */
export interface RoleObject {
  readonly name: string;
  readonly uid: string;
  /** Of the spec; the status has none. */
  readonly generation: number;
  readonly resourceVersion: string;
  readonly status: unknown;
  readonly parsed:
    | { readonly ok: true; readonly role: Role }
    | { readonly ok: false; readonly invalid: InvalidRole };
}

export interface CrdSource extends RoleSource {
  readonly kind: 'crd';
  /** By name, as of the last change that listeners heard of. */
  readonly objects: ReadonlyMap<string, RoleObject>;
  /** After every change of an object, its status included. */
  onObjects(listener: () => void): void;
  /** The server behind the address may be another one. */
  relist(): void;
}

export interface CrdSourceOptions {
  readonly client: Pick<KubeClient, 'get' | 'open'>;
  readonly limits?: RoleLimits;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
}

/** Many objects applied at once are one change. */
const GATHER_MS = 50;

/** Makes the source; nothing is asked before `start`. */
export function createCrdSource(options: CrdSourceOptions): CrdSource {
  const { client, clock, log, random } = options;
  const parse = createRoleParser(options.limits);
  const listeners: (() => void)[] = [];
  const objectListeners: (() => void)[] = [];
  const stopping = new AbortController();
  let roles: readonly Role[] = [];
  let invalid: readonly InvalidRole[] = [];
  let objects: ReadonlyMap<string, RoleObject> = new Map();
  let isGathering = false;

  const collection = createCollection<RoleObject>({
    client,
    path: TOKEN_ROLES_PATH,
    toItem,
    onChange: gather,
    clock,
    log,
    ...(random && { random }),
  });

  function toItem({ metadata, spec, status }: KubeObject): RoleObject {
    const { name, uid = '', generation = 0, resourceVersion = '' } = metadata;
    const before = collection.items.get(name);
    const isSame = before?.uid === uid && before.generation === generation && generation > 0;
    const parsed = isSame ? before.parsed : parseObject(name, spec);
    return { name, uid, generation, resourceVersion, status, parsed };
  }

  function parseObject(name: string, spec: unknown): RoleObject['parsed'] {
    const source = `crd:${name}`;
    const document = { apiVersion: ROLE_API_VERSION, kind: ROLE_KIND, metadata: { name }, spec };
    const parsed = parse(document, source);
    return parsed.ok ? parsed : { ok: false, invalid: { name, source, problems: parsed.problems } };
  }

  function gather(): void {
    if (isGathering) return;
    isGathering = true;
    clock
      .sleep(GATHER_MS, stopping.signal)
      .then(publish, () => undefined)
      // The roles there are go on; the next change tries again.
      .catch((error: unknown) => log.error({ err: error }, 'TokenRoles could not be published'));
  }

  function publish(): void {
    isGathering = false;
    objects = new Map(collection.items);
    const all = [...objects.values()]
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ parsed }) => parsed);
    const nextRoles = all.flatMap((one) => (one.ok ? [one.role] : []));
    const nextInvalid = all.flatMap((one) => (one.ok ? [] : [one.invalid]));
    const isSame = isSameList(nextRoles, roles) && isSameList(nextInvalid, invalid);
    if (!isSame) {
      roles = Object.freeze(nextRoles);
      invalid = Object.freeze(nextInvalid);
      const facts = { roles: roles.length, invalid: invalid.length };
      if (invalid.length > 0)
        log.warn({ ...facts, problems: toSentences(invalid) }, 'some TokenRoles are no roles');
      else log.info(facts, 'TokenRoles loaded');
      for (const listener of listeners) listener();
    }
    for (const listener of objectListeners) listener();
  }

  return {
    kind: 'crd',
    current: () => roles,
    invalid: () => invalid,
    problems: () => [...describeTrouble(collection.findTrouble()), ...toSentences(invalid)],
    onChange: (listener) => void listeners.push(listener),
    findObstacles: () =>
      collection.isLoaded()
        ? []
        : ['TokenRoles were not read yet', ...describeTrouble(collection.findTrouble())],
    get objects() {
      return objects;
    },
    onObjects: (listener) => void objectListeners.push(listener),
    relist: collection.relist,
    start: async () => {
      collection.start();
      await collection.settled();
      publish();
    },
    stop: async () => {
      stopping.abort();
      await collection.stop();
    },
  };
}

function describeTrouble(trouble: CollectionTrouble | undefined): readonly string[] {
  if (!trouble) return [];
  const { kind, status, message } = trouble.error;
  if (status === 404)
    return ['TokenRoles cannot be read: the CRD tokenroles.auth.example.io is not installed'];
  const needs = kind === 'forbidden' ? ': the broker needs the right to list and watch them' : '';
  return [`TokenRoles cannot be read: the API server: ${message}${needs}`];
}

function toSentences(invalid: readonly InvalidRole[]): readonly string[] {
  return invalid.flatMap(({ source, problems }) =>
    problems.map((problem) => `${source}: ${problem}`),
  );
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}
