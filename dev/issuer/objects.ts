// The objects the local issuer knows: ServiceAccounts and pods exist because somebody asked for their token, pods end
// by DELETE. A uid that died stays dead: a pod of the same name later is another pod.
import { badRequest, conflict, podNotFound } from './status.ts';

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly createdAt: number;
}

export interface BindRequest {
  namespace: string;
  name: string;
  serviceAccount: string;
  /** The uid the caller insists on. */
  uid?: string | undefined;
  now: number;
}

/** State of one local issuer. */
export class LocalObjects {
  readonly node: { readonly name: string; readonly uid: string };
  readonly #newUid: () => string;
  readonly #serviceAccounts = new Map<string, string>();
  readonly #pods = new Map<string, Pod>();
  readonly #deadUids = new Set<string>();

  constructor(newUid: () => string) {
    this.#newUid = newUid;
    this.node = { name: 'dev-node', uid: newUid() };
  }

  /** The uid of a ServiceAccount, which exists from now on. */
  getServiceAccountUid(namespace: string, name: string): string {
    const key = `${namespace}/${name}`;
    const uid = this.#serviceAccounts.get(key) ?? this.#newUid();
    this.#serviceAccounts.set(key, uid);
    return uid;
  }

  findServiceAccountUid(namespace: string, name: string): string | undefined {
    return this.#serviceAccounts.get(`${namespace}/${name}`);
  }

  /**
   * The pod a token is to be bound to, which thereby exists.
   * @throws KubeError 404 for a uid that has died, 409 where the living pod has another uid, 400 where it runs as
   * another ServiceAccount.
   */
  bindPod({ namespace, name, serviceAccount, uid, now }: BindRequest): Pod {
    const key = `${namespace}/${name}`;
    const living = this.#pods.get(key);
    if (living === undefined) {
      if (uid !== undefined && this.#deadUids.has(uid)) throw podNotFound(name);
      const pod = { namespace, name, uid: uid ?? this.#newUid(), serviceAccount, createdAt: now };
      this.#pods.set(key, pod);
      return pod;
    }
    if (living.serviceAccount !== serviceAccount) {
      throw badRequest(
        `cannot bind token for serviceaccount ${JSON.stringify(serviceAccount)} to pod running with different serviceaccount name.`,
      );
    }
    if (uid !== undefined && living.uid !== uid) {
      throw conflict(
        name,
        `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    }
    return living;
  }

  findPod(namespace: string, name: string): Pod | undefined {
    return this.#pods.get(`${namespace}/${name}`);
  }

  /** @throws KubeError 404 */
  getPod(namespace: string, name: string): Pod {
    const pod = this.findPod(namespace, name);
    if (pod === undefined) throw podNotFound(name);
    return pod;
  }

  /** The living pods of a namespace, oldest first. */
  listPods(namespace: string): readonly Pod[] {
    return [...this.#pods.values()].filter((pod) => pod.namespace === namespace);
  }

  /**
   * A pod's death.
   * @throws KubeError 404
   */
  deletePod(namespace: string, name: string): Pod {
    const pod = this.getPod(namespace, name);
    this.#pods.delete(`${namespace}/${name}`);
    this.#deadUids.add(pod.uid);
    return pod;
  }
}

/** A pod as the API shows it, with what the local issuer knows of it. */
export function toPodObject(pod: Pod, nodeName: string): object {
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: pod.name,
      namespace: pod.namespace,
      uid: pod.uid,
      creationTimestamp: toTimestamp(pod.createdAt),
    },
    spec: { serviceAccountName: pod.serviceAccount, nodeName },
    status: { phase: 'Running' },
  };
}

/** RFC 3339 in whole seconds, as Kubernetes' `metav1.Time`. */
export function toTimestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
