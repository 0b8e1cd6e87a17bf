// The containers we add: `coatcheck-exchange`, and `coatcheck-exchange-init` before it where a failing native sidecar would
// restart for ever. Every default of the API server is written out, so that what comes back equals what we wrote.
import type { JsonObject } from '../common/protocol/admission.ts';
import {
  EXCHANGE_CONTAINER,
  EXCHANGE_INIT_CONTAINER,
  IDENTITY_MOUNT,
  IDENTITY_VOLUME,
  type Mode,
  type PodAudience,
  TOKENS_VOLUME,
} from '../common/protocol/pod.ts';
import type { TokenRequest } from './annotations.ts';
import type { InjectSettings } from './inject-settings.ts';
import type { Pod } from './pod.ts';
import { toResources } from './resources.ts';
import { toSecurityContext } from './security.ts';

export interface ExchangeOptions {
  readonly pod: Pod;
  readonly request: TokenRequest;
  readonly settings: InjectSettings;
  /** Already decided for this pod. */
  readonly mode: Mode;
}

/** The container of that name as this pod needs it. */
export function toExchangeContainer(name: string, options: ExchangeOptions): JsonObject {
  const { pod, settings } = options;
  const isSidecar = name === EXCHANGE_CONTAINER && options.mode === 'refresh';
  const command = settings.exchangeCommand.map(escapeExpansion);
  return {
    name,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    command,
    env: toEnv(options, isSidecar ? 'refresh' : 'init'),
    resources: toResources(pod, settings),
    ...(isSidecar && {
      restartPolicy: 'Always',
      startupProbe: toStartupProbe(command, options.request.deadlineSeconds),
    }),
    securityContext: toSecurityContext(pod),
    volumeMounts: [
      { name: IDENTITY_VOLUME, mountPath: IDENTITY_MOUNT, readOnly: true },
      { name: TOKENS_VOLUME, mountPath: settings.mountRoot },
    ],
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  };
}

/** The names of our containers in this pod, in the order in which they run. */
export function listExchangeNames(pod: Pod, mode: Mode): readonly string[] {
  const isFirstApart = mode === 'refresh' && pod.restartPolicy !== 'Always';
  // Left over from a copied pod that had another mode. We remove nothing; one plain exchange more does no harm.
  const isLeftOver = pod.initContainers.some(({ name }) => name === EXCHANGE_INIT_CONTAINER);
  return isFirstApart || isLeftOver
    ? [EXCHANGE_INIT_CONTAINER, EXCHANGE_CONTAINER]
    : [EXCHANGE_CONTAINER];
}

function toEnv({ request, settings }: ExchangeOptions, mode: Mode): JsonObject[] {
  const variables: [string, string | undefined][] = [
    ['COATCHECK_MODE', mode],
    ['COATCHECK_BROKER_URL', settings.brokerUrl],
    ['COATCHECK_BROKER_FALLBACK_ADDRESS', settings.brokerFallbackAddress],
    ['COATCHECK_BROKER_CA', settings.brokerCa],
    ['COATCHECK_AUDIENCES', toAudiencesText(request.audiences)],
    ['COATCHECK_IDENTITY_DIR', IDENTITY_MOUNT],
    ['COATCHECK_TOKENS_DIR', settings.mountRoot],
    ['COATCHECK_DEADLINE_SECONDS', String(request.deadlineSeconds)],
  ];
  return variables.flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [{ name, value: escapeExpansion(value) }],
  );
}

/** The value of COATCHECK_AUDIENCES. An audience may hold `$(X)`, which the kubelet would expand: no bare `$` remains. */
function toAudiencesText(audiences: readonly PodAudience[]): string {
  return JSON.stringify(
    audiences.map(({ name, audience, role }) => ({ name, audience, role })),
  ).replaceAll('$', '\\u0024');
}

/** Keeps the kubelet from expanding `$(NAME)` in a variable or in a command: `$$` is its way to write `$`. */
export function escapeExpansion(text: string): string {
  return text.replaceAll('$', '$$$$');
}

// The probe starts a process; on a busy node with half a CPU that takes a while.
const PROBE_TIMEOUT_SECONDS = 5;
// The exchange itself ends at the deadline and says why. The kubelet, which would say nothing, comes later.
const PROBE_SLACK_SECONDS = 10;

function toStartupProbe(command: readonly string[], deadlineSeconds: number): JsonObject {
  return {
    exec: { command: [...command, '--check'] },
    timeoutSeconds: PROBE_TIMEOUT_SECONDS,
    // The app waits for the first probe that succeeds, so the shortest period there is.
    periodSeconds: 1,
    successThreshold: 1,
    failureThreshold: deadlineSeconds + PROBE_SLACK_SECONDS,
  };
}
