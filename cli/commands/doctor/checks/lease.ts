// Who of the controllers acts, and whether they still do.
import type { Finding, InstalledContext } from '../check.ts';
import { findVariable } from '../installation.ts';
import { listOwnPods } from './pods.ts';

interface Lease {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly renewTime?: string;
    readonly leaseDurationSeconds?: number;
  };
}

/** Beside the 15 s of the Lease: what our clock and the holder's may differ by. */
const SLACK_SECONDS = 15;

export async function checkLease(context: InstalledContext): Promise<readonly Finding[]> {
  const { kube, installation, clock } = context;
  const { namespace, parts } = installation;
  if (!parts.controller || (parts.controller.spec.replicas ?? 1) === 0) return [];
  const name =
    findVariable(parts.controller, 'COATCHECK_LEASE_NAME') ?? parts.controller.metadata.name;
  const lease = await kube.get<Lease>(
    { group: 'coordination.k8s.io', resource: 'leases', namespace },
    name,
  );
  const { holderIdentity = '', renewTime = '', leaseDurationSeconds = 15 } = lease?.spec ?? {};
  const mend = `kubectl -n ${namespace} logs deployment/${parts.controller.metadata.name}`;
  const means =
    'no controller acts: deaths are not told, certificates are not renewed, missed pods are not found';
  if (holderIdentity === '')
    return [
      {
        state: 'problem',
        about: name,
        seen: lease ? 'nobody holds it' : 'there is no Lease',
        means,
        mend,
      },
    ];
  const age = Math.round((clock.now() - Date.parse(renewTime)) / 1000);
  if (!(age <= leaseDurationSeconds + SLACK_SECONDS))
    return [
      {
        state: 'problem',
        about: name,
        seen: `${holderIdentity} holds it and last renewed it ${age} s ago`,
        means,
        mend,
      },
    ];
  const pods = await listOwnPods(context, 'controller');
  const isOurs = pods.some(({ metadata }) => holderIdentity.startsWith(metadata.name));
  if (!isOurs)
    return [
      {
        state: 'warning',
        about: name,
        seen: `${holderIdentity} holds it, which is no pod of this installation`,
        means:
          'it passes 15 s after the end of a pod; if it stays, two installations share one Lease',
        mend: 'coatcheck doctor, a minute later',
      },
    ];
  return [{ state: 'ok', seen: `${holderIdentity} acts, renewed ${Math.max(0, age)} s ago` }];
}
