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
import { type ResourceClass, toResources } from './resources.ts';
import { type Security, toSecurityContext } from './security.ts';

export interface ExchangeOptions {
  readonly request: TokenRequest;
  /** Already decided for this pod. */
  readonly mode: Mode;
  readonly resources: ResourceClass;
  readonly security: Security;
}

/** What of the container depends on the settings alone. */
export interface ExchangeTemplate {
  readonly settings: InjectSettings;
  readonly command: readonly string[];
  readonly probeCommand: readonly string[];
  /** Variables before and behind COATCHECK_AUDIENCES, in the order in which they are written. */
  readonly envBefore: readonly JsonObject[];
  readonly envBehind: readonly JsonObject[];
  readonly volumeMounts: readonly JsonObject[];
}

export function prepareExchange(settings: InjectSettings): ExchangeTemplate {
  const command = settings.exchangeCommand.map(escapeExpansion);
  return {
    settings,
    command,
    probeCommand: [...command, '--check'],
    envBefore: [
      ...toVariable('COATCHECK_BROKER_URL', settings.brokerUrl),
      ...toVariable('COATCHECK_BROKER_FALLBACK_ADDRESS', settings.brokerFallbackAddress),
      ...toVariable('COATCHECK_BROKER_CA', settings.brokerCa),
    ],
    envBehind: [
      ...toVariable('COATCHECK_IDENTITY_DIR', IDENTITY_MOUNT),
      ...toVariable('COATCHECK_TOKENS_DIR', settings.mountRoot),
    ],
    volumeMounts: [
      { name: IDENTITY_VOLUME, mountPath: IDENTITY_MOUNT, readOnly: true },
      { name: TOKENS_VOLUME, mountPath: settings.mountRoot },
    ],
  };
}

function toVariable(name: string, value: string | undefined): readonly JsonObject[] {
  return value ? [{ name, value: escapeExpansion(value) }] : [];
}

/** The container of that name as pods of this kind need it. */
export function toExchangeContainer(
  name: string,
  template: ExchangeTemplate,
  { request, mode, resources, security }: ExchangeOptions,
): JsonObject {
  const { settings, command, probeCommand, volumeMounts } = template;
  const isSidecar = name === EXCHANGE_CONTAINER && mode === 'refresh';
  return {
    name,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    command,
    env: toEnv(template, request, isSidecar ? 'refresh' : 'init'),
    resources: toResources(resources, settings),
    ...(isSidecar && {
      restartPolicy: 'Always',
      startupProbe: toStartupProbe(probeCommand, request.deadlineSeconds),
    }),
    securityContext: toSecurityContext(security),
    volumeMounts,
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

function toEnv(
  { envBefore, envBehind }: ExchangeTemplate,
  { audiences, deadlineSeconds }: TokenRequest,
  mode: Mode,
): readonly JsonObject[] {
  return [
    { name: 'COATCHECK_MODE', value: mode },
    ...envBefore,
    { name: 'COATCHECK_AUDIENCES', value: toAudiencesText(audiences) },
    ...envBehind,
    { name: 'COATCHECK_DEADLINE_SECONDS', value: String(deadlineSeconds) },
  ];
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
    exec: { command },
    timeoutSeconds: PROBE_TIMEOUT_SECONDS,
    // The app waits for the first probe that succeeds, so the shortest period there is.
    periodSeconds: 1,
    successThreshold: 1,
    failureThreshold: deadlineSeconds + PROBE_SLACK_SECONDS,
  };
}
