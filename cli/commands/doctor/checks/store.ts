// Where the broker keeps its state, and what follows from it.
import type { Finding, InstalledContext } from '../check.ts';
import { findVariable, findVolume } from '../installation.ts';

export async function checkStore({
  kube,
  installation,
}: InstalledContext): Promise<readonly Finding[]> {
  const { broker } = installation.parts;
  if (!broker) return [];
  if (findVariable(broker, 'COATCHECK_STORE_FILE') !== undefined)
    return [{ state: 'ok', seen: 'PostgreSQL: back up that database (docs/store.md)' }];
  const url = findVariable(broker, 'COATCHECK_STORE') ?? '';
  if (!url.startsWith('sqlite:'))
    return [
      {
        state: 'ok',
        seen: 'nothing is stored: tokens are JWTs that end by themselves, none can be revoked',
      },
    ];
  const replicas = broker.spec.replicas ?? 1;
  if (replicas > 1)
    return [
      {
        state: 'problem',
        seen: `${replicas} brokers on one sqlite file`,
        means: 'the file is locked for all but one, and can be damaged on a network volume',
        mend: `kubectl -n ${installation.namespace} scale deployment/${broker.metadata.name} --replicas=1, or broker.store.type=postgres`,
      },
    ];
  const volume = findVolume(broker, 'store');
  const claim = volume?.persistentVolumeClaim?.claimName;
  if (claim === undefined)
    return [
      {
        state: 'warning',
        seen: 'sqlite in the pod itself',
        means:
          'tokens, revocations, roles of the API and the signing keys that it keeps end with the pod',
        mend: 'broker.store.persistence.enabled=true, or PostgreSQL',
      },
    ];
  const found = await kube.get<{ status?: { phase?: string } }>(
    { resource: 'persistentvolumeclaims', namespace: installation.namespace },
    claim,
  );
  const phase = found?.status?.phase ?? 'missing';
  if (phase === 'Bound')
    return [{ state: 'ok', seen: `sqlite on the volume ${claim}: back it up` }];
  return [
    {
      state: 'problem',
      seen: `the volume ${claim} is ${phase}`,
      means: 'the broker does not start without it',
      mend: 'set broker.store.persistence.storageClass: the cluster may have no default StorageClass',
    },
  ];
}
