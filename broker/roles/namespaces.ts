// What role subjects ask about namespaces: their labels. The informer that knows them is the cluster's side of it; roles
// know this much alone, and only of the broker's own cluster.

export interface NamespaceLabels {
  /** Labels of a namespace of the broker's own cluster; undefined where there is none of this name, or nothing is known. */
  find(namespace: string): Readonly<Record<string, string>> | undefined;
  /** Whether what {@link find} says counts: everything was read once, and is kept up since. */
  isReady(): boolean;
}

/** Of a broker that may not read namespaces, or has no cluster of its own: no namespaceSelector ever fits. */
export const NO_NAMESPACES: NamespaceLabels = { find: () => undefined, isReady: () => false };
