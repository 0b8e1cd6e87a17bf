// What comes out of every order: the mesh's webhook before ours or after, its containers at the head or at the end, the
// exchange first or last. Ours is settled in its first pass and stays where others find it then.
export interface Order {
  readonly style: 'classic' | 'appended' | 'native';
  readonly initOrder: 'first' | 'last';
  /** Where the mesh's webhook is called, seen from ours. */
  readonly mesh: 'before' | 'after';
  readonly initContainers: readonly string[];
  /** Who has the token, init containers first; nobody else has. */
  readonly holders: readonly string[];
}

const X = 'coatcheck-exchange';

export const ORDERS: readonly Order[] = [
  {
    ...{ style: 'classic', initOrder: 'first', mesh: 'before' },
    initContainers: [X, 'istio-init', 'prepare'],
    holders: ['prepare', 'app', 'other-agent'],
  },
  {
    ...{ style: 'classic', initOrder: 'first', mesh: 'after' },
    initContainers: ['istio-init', X, 'prepare'],
    holders: ['prepare', 'app', 'other-agent'],
  },
  {
    ...{ style: 'classic', initOrder: 'last', mesh: 'before' },
    initContainers: ['istio-init', 'prepare', X],
    holders: ['app', 'other-agent'],
  },
  {
    ...{ style: 'classic', initOrder: 'last', mesh: 'after' },
    initContainers: ['istio-init', 'prepare', X],
    holders: ['app', 'other-agent'],
  },
  {
    ...{ style: 'appended', initOrder: 'first', mesh: 'before' },
    initContainers: [X, 'prepare', 'istio-init'],
    holders: ['prepare', 'app'],
  },
  {
    ...{ style: 'appended', initOrder: 'first', mesh: 'after' },
    initContainers: [X, 'prepare', 'istio-init'],
    holders: ['prepare', 'app'],
  },
  {
    ...{ style: 'appended', initOrder: 'last', mesh: 'before' },
    initContainers: ['prepare', 'istio-init', X],
    holders: ['app'],
  },
  {
    ...{ style: 'appended', initOrder: 'last', mesh: 'after' },
    initContainers: ['prepare', X, 'istio-init'],
    holders: ['app'],
  },
  {
    ...{ style: 'native', initOrder: 'first', mesh: 'before' },
    initContainers: [X, 'istio-proxy', 'prepare', 'other-agent'],
    holders: ['prepare', 'other-agent', 'app'],
  },
  {
    ...{ style: 'native', initOrder: 'first', mesh: 'after' },
    initContainers: ['istio-proxy', X, 'prepare', 'other-agent'],
    holders: ['prepare', 'other-agent', 'app'],
  },
  {
    ...{ style: 'native', initOrder: 'last', mesh: 'before' },
    initContainers: ['istio-proxy', 'prepare', 'other-agent', X],
    holders: ['app'],
  },
  {
    ...{ style: 'native', initOrder: 'last', mesh: 'after' },
    initContainers: ['istio-proxy', 'prepare', X, 'other-agent'],
    // It starts behind the exchange after all, for the mesh put it there.
    holders: ['other-agent', 'app'],
  },
];
