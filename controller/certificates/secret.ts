// The one Secret, read and replaced by its name alone. Its resourceVersion goes along: what somebody else wrote meanwhile is
// never overwritten.
import type { KubeClient } from '../../common/kube/client.ts';
import { KubeError } from '../../common/kube/error.ts';
import type { SecretText } from './kept.ts';

/** On the Secret, with any text: a new authority is wanted. Taken away when its making begins. */
export const ROTATE_ANNOTATION = 'rotate-ca';

export interface StoredSecret {
  readonly text: SecretText;
  readonly isRotationAsked: boolean;
  readonly uid: string;
  /** The API server's time of day as it answered, milliseconds since the epoch; undefined where it did not say it. */
  readonly readAt: number | undefined;
  /** As the API server gave it. */
  readonly object: Readonly<Record<string, unknown>>;
}

export interface SecretStore {
  /** @throws KubeError */
  read(): Promise<StoredSecret>;
  /**
   * @param changes key to its new text; undefined takes the key away, other keys stay
   * @throws KubeError, status 409 where it is not the one that was read any more
   */
  write(
    before: StoredSecret,
    changes: SecretText,
    options: { isRotationTaken: boolean },
  ): Promise<void>;
}

export function openSecret(options: {
  client: Pick<KubeClient, 'get' | 'put'>;
  namespace: string;
  name: string;
  /** Of our annotations, with its slash. */
  prefix: string;
}): SecretStore {
  const { client, namespace, name, prefix } = options;
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
  const annotation = `${prefix}${ROTATE_ANNOTATION}`;
  return {
    read: async () => {
      let readAt: number | undefined;
      const onDate = (time: number) => {
        readAt = time;
      };
      const body = await client.get(path, { onDate });
      return { ...parseSecret(body, annotation), readAt };
    },
    write: async ({ object }, changes, { isRotationTaken }) => {
      const { metadata, data } = object as { metadata: object; data?: object };
      const { annotations, ...named } = metadata as { annotations?: Record<string, string> };
      const kept = Object.entries(annotations ?? {}).filter(
        ([key]) => !isRotationTaken || key !== annotation,
      );
      await client.put(path, {
        ...object,
        metadata: { ...named, annotations: Object.fromEntries(kept) },
        data: toData({ ...data }, changes),
      });
    },
  };
}

function toData(data: Record<string, string>, changes: SecretText): Record<string, string> {
  const kept = Object.entries(data).filter(([key]) => !Object.hasOwn(changes, key));
  const written = Object.entries(changes).flatMap(([key, text]) =>
    text === undefined ? [] : [[key, Buffer.from(text).toString('base64')] as const],
  );
  return Object.fromEntries([...kept, ...written]);
}

function parseSecret(body: string, annotation: string): Omit<StoredSecret, 'readAt'> {
  const object = toObject(body);
  const { metadata, data } = object as { metadata?: unknown; data?: unknown };
  const { annotations, resourceVersion, uid } = Object(metadata) as Record<string, unknown>;
  if (typeof resourceVersion !== 'string')
    throw new KubeError('unavailable', 'answered something that is no Secret');
  const entries = Object.entries(Object(data) as Record<string, unknown>).map(
    ([key, value]) => [key, Buffer.from(String(value), 'base64').toString('utf8')] as const,
  );
  return {
    text: Object.fromEntries(entries),
    isRotationAsked: Object.hasOwn(Object(annotations) as object, annotation),
    uid: String(uid),
    object,
  };
}

function toObject(body: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(body)) as Record<string, unknown>;
  } catch {
    throw new KubeError('unavailable', 'answered something that is not JSON');
  }
}
