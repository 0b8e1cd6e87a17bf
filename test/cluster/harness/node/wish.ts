// What the outer process of a node's run tells the inner one, in one variable.
import { readlinkSync } from 'node:fs';

/** Set: the harness brings up a node, too. Its content is a {@link NodeWish}. */
export const NODE_VARIABLE = 'COATCHECK_TEST_NODE';

export interface NodeWish {
  /** The machine's own network namespace: the node must find itself in another one. */
  readonly outerNetwork: string;
  /** A cgroup of this run's own, below every hierarchy's root, that somebody else removes. */
  readonly cgroup: string;
  /** OCI archives to load. */
  readonly images: readonly {
    readonly name: string;
    readonly reference: string;
    readonly file: string;
  }[];
}

/** Name of the network namespace that this process is in. */
export function readNetworkNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}

/** Undefined: a control plane alone. */
export function findNodeWish(environment: NodeJS.ProcessEnv): NodeWish | undefined {
  const given = environment[NODE_VARIABLE];
  return given ? (JSON.parse(given) as NodeWish) : undefined;
}
