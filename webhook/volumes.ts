// Our two volumes: the ServiceAccount tokens that only the exchange sees, and the memory in which the client tokens lie.
import type { JsonObject } from '../common/protocol/admission.ts';
import { IDENTITY_VOLUME, TOKENS_VOLUME } from '../common/protocol/pod.ts';
import type { TokenRequest } from './annotations.ts';
import type { InjectSettings } from './inject-settings.ts';

// 0644, the API server's own default. The kubelet makes it 0600 or 0640 where all containers have one uid, or an fsGroup.
const DEFAULT_MODE = 420;

/** Both volumes as this pod needs them. */
export function toVolumes(request: TokenRequest, settings: InjectSettings): readonly JsonObject[] {
  const sources = request.audiences.map(({ name, audience }) => ({
    serviceAccountToken: {
      audience,
      expirationSeconds: request.tokenExpirationSeconds,
      path: name,
    },
  }));
  return [
    { name: IDENTITY_VOLUME, projected: { defaultMode: DEFAULT_MODE, sources } },
    // Memory: no token on the node's disk, and the cluster autoscaler does not count it as local storage.
    { name: TOKENS_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: settings.tokensSizeLimit } },
  ];
}
