// The API server's bundle: `caBundle` of our one webhook in our one MutatingWebhookConfiguration, stated by server-side apply
// under a name of our own. What others own there is left to them.
import type { KubeClient } from '../../common/kube/client.ts';

export const FIELD_MANAGER = 'coatcheck-controller';
const WEBHOOK = 'pods.coatcheck.example.io';
const API_VERSION = 'admissionregistration.k8s.io/v1';

/**
 * @param name of the MutatingWebhookConfiguration; it is never made by us: where it is gone, so is the release
 * @param bundle PEM
 * @throws KubeError; 409 with `owners` where the field is somebody else's, 403 or 404 where there is no such object
 */
export async function applyBundle(
  client: Pick<KubeClient, 'apply'>,
  name: string,
  bundle: string,
): Promise<void> {
  const caBundle = Buffer.from(bundle).toString('base64');
  const path = `/apis/${API_VERSION}/mutatingwebhookconfigurations/${name}`;
  const body = {
    apiVersion: API_VERSION,
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks: [{ name: WEBHOOK, clientConfig: { caBundle } }],
  };
  await client.apply(path, body, FIELD_MANAGER);
}
