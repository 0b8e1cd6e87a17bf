// What the operator decided and the injection needs: plain values, no files. settings.ts makes it; tests write it by hand.
import type { Mode } from '../common/protocol/pod.ts';

export type InitOrder = 'first' | 'last';

export interface InjectSettings {
  /** With its slash. */
  readonly prefix: string;
  readonly brokerUrl: string;
  /** `ip` or `ip:port`, dialled where the broker's name cannot be resolved. */
  readonly brokerFallbackAddress?: string | undefined;
  /** PEM; without it the exchange trusts the system's authorities and apps get no AUTH_CA_FILE. */
  readonly brokerCa?: string | undefined;
  readonly issuer: string;
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly exchangeCommand: readonly string[];
  readonly mountRoot: string;
  readonly skipContainers: readonly string[];
  /** Beside the preset of common/protocol/audiences.ts. */
  readonly reservedAudiences: readonly string[];
  /** `auto`: `refresh` where the pod's restartPolicy is Always, else `init`. */
  readonly defaultMode: Mode | 'auto';
  readonly initOrder: InitOrder;
  readonly tokenExpirationSeconds: number;
  readonly deadlineSeconds: number;
  /** Kubernetes quantities in canonical form, as the API server writes them back. */
  readonly exchangeCpuRequest: string;
  readonly exchangeCpuLimit: string;
  readonly exchangeMemoryRequest: string;
  readonly exchangeMemoryLimit: string;
  readonly tokensSizeLimit: string;
  readonly podAnnotations: Readonly<Record<string, string>>;
}

export const TOKEN_EXPIRATION_BOUNDS = { min: 600, max: 86_400 } as const;
export const DEADLINE_BOUNDS = { min: 1, max: 600 } as const;
