// A pod as the API server gives it back, with what lists hold by name, so that a step can say what it means.

export interface Container {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly mounts: Readonly<Record<string, { mountPath: string; readOnly?: boolean }>>;
  readonly restartPolicy?: string;
  readonly command?: readonly string[];
}

export interface StoredPod {
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Uid of the first owner. */
  readonly owner: string | undefined;
  readonly initContainerNames: readonly string[];
  readonly initContainers: Readonly<Record<string, Container>>;
  readonly containers: Readonly<Record<string, Container>>;
  readonly volumes: Readonly<Record<string, RawVolume>>;
}

export interface RawVolume {
  readonly name: string;
  readonly projected?: {
    readonly sources: readonly {
      serviceAccountToken?: { audience?: string; expirationSeconds: number; path: string };
    }[];
  };
  readonly emptyDir?: { readonly medium?: string };
}

interface RawContainer {
  name: string;
  env?: { name: string; value?: string }[];
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
  restartPolicy?: string;
  command?: string[];
}

interface RawPod {
  metadata: {
    name: string;
    uid: string;
    annotations?: Record<string, string>;
    ownerReferences?: { uid: string }[];
  };
  spec: {
    serviceAccountName?: string;
    containers: RawContainer[];
    initContainers?: RawContainer[];
    volumes?: RawVolume[];
  };
}

/** Reads a Pod object of the API server. */
export function toStoredPod(value: unknown): StoredPod {
  const { metadata, spec } = value as RawPod;
  return {
    name: metadata.name,
    uid: metadata.uid,
    serviceAccount: spec.serviceAccountName ?? 'default',
    annotations: metadata.annotations ?? {},
    owner: metadata.ownerReferences?.[0]?.uid,
    initContainerNames: (spec.initContainers ?? []).map(({ name }) => name),
    initContainers: byName(spec.initContainers ?? [], toContainer),
    containers: byName(spec.containers, toContainer),
    volumes: byName(spec.volumes ?? [], (volume) => volume),
  };
}

function byName<T extends { name: string }, R>(
  list: readonly T[],
  map: (item: T) => R,
): Record<string, R> {
  return Object.fromEntries(list.map((item) => [item.name, map(item)]));
}

function toContainer({
  env = [],
  volumeMounts = [],
  restartPolicy,
  command,
}: RawContainer): Container {
  return {
    env: Object.fromEntries(env.map(({ name, value }) => [name, value])),
    mounts: byName(volumeMounts, ({ mountPath, readOnly }) => ({
      mountPath,
      ...(readOnly !== undefined && { readOnly }),
    })),
    ...(restartPolicy !== undefined && { restartPolicy }),
    ...(command && { command }),
  };
}
