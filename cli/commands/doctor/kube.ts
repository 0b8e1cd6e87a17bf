// The API server as the checks see it: objects that are read once however many checks want them, and a failure that names
// the right that is missing.
import type { PersonAnswer, PersonClient } from '../../../common/kube/person-client.ts';
import { CONNECTION } from '../../failure.ts';

/** The person may not do this. */
export class MissingRight extends Error {
  /** `list pods in the namespace auth`. */
  readonly right: string;

  constructor(right: string) {
    super(`no right to ${right}`);
    this.name = 'MissingRight';
    this.right = right;
  }
}

/** It could not be read, for another reason than rights; the message is one for people. */
export class Unreadable extends Error {
  /** 0 where there was no answer. */
  readonly status: number;

  constructor(message: string, status = 0) {
    super(message);
    this.name = 'Unreadable';
    this.status = status;
  }
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { kind: string; name: string; controller?: boolean }[];
}

export interface Collection {
  /** `''` is the core group. */
  readonly group?: string;
  /** `v1` unless set. */
  readonly version?: string;
  readonly resource: string;
  /** Absent: all namespaces, or it has none. */
  readonly namespace?: string;
}

export interface Selection {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Names, labels, annotations and owners alone. */
  readonly metadataOnly?: boolean;
}

export interface Listed<T> {
  readonly items: readonly T[];
  /** False where there are more than are looked at. */
  readonly isWhole: boolean;
}

export interface ProxyTarget {
  readonly namespace: string;
  readonly kind: 'pods' | 'services';
  /** `http:<pod>:<port>`. */
  readonly name: string;
  /** With its slash. */
  readonly path: string;
}

export interface Kube {
  /** @returns undefined where there is none of this name. @throws MissingRight, Unreadable */
  get<T>(collection: Collection, name: string): Promise<T | undefined>;
  /** @returns undefined where the API server does not know the resource. @throws MissingRight, Unreadable */
  list<T>(collection: Collection, selection?: Selection): Promise<Listed<T> | undefined>;
  /** Whatever the server answers. @throws Unreadable where there was no answer */
  ask(path: string): Promise<PersonAnswer>;
  /** @param query `?dryRun=All`. @throws Unreadable where there was no answer */
  create(collection: Collection, body: object, query?: string): Promise<PersonAnswer>;
  /** What the pod or Service itself answers. @throws MissingRight, Unreadable also where it cannot be reached */
  proxy(target: ProxyTarget): Promise<PersonAnswer>;
}

const PAGE = 500;
/** Objects of one list; a cluster beyond that is looked at in part, which is told. */
const MAX_ITEMS = 100_000;
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const FORBIDDEN = 403;
const NOT_FOUND = 404;

/** Requests whose failures are sentences for people. */
export function createSender(client: Pick<PersonClient, 'send'>): PersonClient['send'] {
  return async (request) => {
    try {
      return await client.send(request);
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException;
      // Without the flags of the commands that speak to a broker.
      throw new Unreadable((CONNECTION[code] ?? message).replace(/; --.*$/, ''));
    }
  };
}

export function createKube(client: Pick<PersonClient, 'send'>): Kube {
  const known = new Map<string, Promise<unknown>>();
  function once<T>(key: string, read: () => Promise<T>): Promise<T> {
    const before = known.get(key) as Promise<T> | undefined;
    if (before) return before;
    const made = read();
    known.set(key, made);
    return made;
  }
  const send = createSender(client);

  async function readList<T>(
    collection: Collection,
    { labelSelector, fieldSelector, metadataOnly }: Selection,
  ): Promise<Listed<T> | undefined> {
    const items: T[] = [];
    let resume: string | undefined;
    do {
      const query = new URLSearchParams({
        limit: String(PAGE),
        ...(labelSelector !== undefined && { labelSelector }),
        ...(fieldSelector !== undefined && { fieldSelector }),
        ...(resume !== undefined && { continue: resume }),
      });
      const answer = await send({
        path: `${toPath(collection)}?${query}`,
        ...(metadataOnly && { accept: METADATA_LIST }),
      });
      if (answer.status === NOT_FOUND) return undefined;
      const page = readObject<{ items?: T[]; metadata?: { continue?: string } }>(
        answer,
        toRight('list', collection),
      );
      items.push(...(page.items ?? []));
      resume = page.metadata?.continue || undefined;
    } while (resume !== undefined && items.length < MAX_ITEMS);
    return { items, isWhole: resume === undefined };
  }

  return {
    get: <T>(collection: Collection, name: string) =>
      once(`${toPath(collection)}/${name}`, async () => {
        const answer = await send({ path: `${toPath(collection)}/${encodeURIComponent(name)}` });
        if (answer.status === NOT_FOUND) return undefined;
        return readObject<T>(answer, toRight('get', collection, name));
      }),
    list: <T>(collection: Collection, selection: Selection = {}) =>
      once(`${toPath(collection)} ${JSON.stringify(selection)}`, () =>
        readList<T>(collection, selection),
      ),
    // Keys are application/jwk-set+json, which one must be willing to take.
    ask: (path) => once(path, () => send({ path, accept: 'application/json, */*' })),
    create: (collection, body, query = '') =>
      send({ method: 'POST', path: `${toPath(collection)}${query}`, body }),
    proxy: ({ namespace, kind, name, path }) =>
      once(`proxy ${namespace} ${kind} ${name} ${path}`, async () => {
        const answer = await send({
          path: `/api/v1/namespaces/${namespace}/${kind}/${name}/proxy${path}`,
          accept: '*/*',
        });
        const status = findStatus(answer);
        if (!status) return answer;
        if (answer.status === FORBIDDEN)
          throw new MissingRight(`get ${kind}/proxy in the namespace ${namespace}`);
        throw new Unreadable(
          `the API server could not reach it: ${status.message ?? `status ${answer.status}`}`,
          answer.status,
        );
      }),
  };
}

/** The answer as an object. @throws MissingRight, Unreadable */
export function readObject<T>(answer: PersonAnswer, right: string): T {
  const { status, text } = answer;
  if (status === FORBIDDEN) throw new MissingRight(right);
  if (status === 401)
    throw new Unreadable('the API server does not accept the credential of the kubeconfig', status);
  if (status < 200 || status > 299)
    throw new Unreadable(`the API server answered ${status} to: ${right}`, status);
  const object = findObject(text);
  if (!object)
    throw new Unreadable(`the API server answered something that is no JSON to: ${right}`);
  return object as T;
}

interface Status {
  readonly kind: 'Status';
  readonly message?: string;
  readonly reason?: string;
}

/** The API server's own refusal, as opposed to what something behind it said. */
export function findStatus({ status, text }: PersonAnswer): Status | undefined {
  if (status < 400) return undefined;
  const object = findObject(text);
  return object?.kind === 'Status' ? (object as unknown as Status) : undefined;
}

export function findObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

export function toRight(
  verb: string,
  { group = '', resource, namespace }: Collection,
  name?: string,
): string {
  const what = `${verb} ${resource}${group === '' ? '' : `.${group}`}`;
  const named = name === undefined ? what : `${what} ${JSON.stringify(name)}`;
  return namespace === undefined ? named : `${named} in the namespace ${namespace}`;
}

function toPath({ group = '', version = 'v1', resource, namespace }: Collection): string {
  const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespace === undefined
    ? `${base}/${resource}`
    : `${base}/namespaces/${encodeURIComponent(namespace)}/${resource}`;
}
