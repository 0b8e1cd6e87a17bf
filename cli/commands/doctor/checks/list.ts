// All checks, in the order in which they are told: from the API server inwards.
import type { Check } from '../check.ts';
import { checkAdmission } from './admission.ts';
import { checkAdmissionPolicies, checkClocks } from './api-server.ts';
import { checkAuthorities } from './authorities.ts';
import { checkMetadata } from './broker.ts';
import { checkDeployments, checkDisruption, checkNetworkPolicies } from './deployments.ts';
import { checkClusterKeys, checkIssuer } from './issuer.ts';
import { checkLease } from './lease.ts';
import { checkMissed } from './missed.ts';
import { checkPods } from './pods.ts';
import { checkOtherRegistrations, checkRegistration } from './registration.ts';
import { checkRights } from './rights.ts';
import { checkRoles } from './roles.ts';
import { checkCertificates, checkLiveSets, checkReadiness } from './running.ts';
import { checkStore } from './store.ts';

export const CHECKS: readonly Check[] = [
  { name: 'admission-policies', needs: 'cluster', run: checkAdmissionPolicies },
  { name: 'clocks', needs: 'cluster', run: checkClocks },
  { name: 'deployments', needs: 'installed', run: checkDeployments },
  { name: 'pods', needs: 'installed', run: checkPods },
  { name: 'readiness', needs: 'installed', run: checkReadiness },
  { name: 'certificates', needs: 'installed', run: checkCertificates },
  { name: 'authorities', needs: 'installed', run: checkAuthorities },
  { name: 'webhook-registration', needs: 'installed', run: checkRegistration },
  { name: 'other-webhooks', needs: 'installed', run: checkOtherRegistrations },
  { name: 'injection', needs: 'cluster', run: checkAdmission },
  { name: 'missed-pods', needs: 'cluster', run: checkMissed },
  { name: 'issuer', needs: 'cluster', run: checkIssuer },
  { name: 'cluster-keys', needs: 'cluster', run: checkClusterKeys },
  { name: 'broker', needs: 'installed', run: checkMetadata },
  { name: 'roles', needs: 'installed', run: checkRoles },
  { name: 'store', needs: 'installed', run: checkStore },
  { name: 'controller-lease', needs: 'installed', run: checkLease },
  { name: 'live-sets', needs: 'installed', run: checkLiveSets },
  { name: 'rights', needs: 'installed', run: checkRights },
  { name: 'disruption', needs: 'installed', run: checkDisruption },
  { name: 'network-policies', needs: 'installed', run: checkNetworkPolicies },
];
