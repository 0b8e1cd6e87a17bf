// The settings of the webhook: everything the operator decides, and every default of an annotation. `coatcheck inject` and
// `lint` read the part that shapes the patch.
import { LOG_LEVELS } from '../common/log.ts';
import { DEFAULT_PREFIX } from '../common/protocol/pod.ts';
import {
  integer,
  json,
  list,
  listenAddress,
  oneOf,
  optional,
  path,
  readSettings,
  SettingsError,
  type SettingsOf,
  type SettingsSource,
  text,
  url,
} from '../common/settings.ts';
import {
  DEADLINE_BOUNDS,
  type InjectSettings,
  TOKEN_EXPIRATION_BOUNDS,
} from './inject-settings.ts';
import { findAmount, parseCpu, parseMemory } from './quantity.ts';
import {
  audiences,
  fallbackAddress,
  mountRoot,
  quantity,
  toAnnotations,
  toCommand,
} from './setting-kinds.ts';
import { DEFAULT_SKIP_CONTAINERS } from './skip-containers.ts';

/** What shapes the patch. */
export const INJECT_TABLE = {
  prefix: text({
    doc: 'Prefix of our annotations, with its slash',
    default: DEFAULT_PREFIX,
    pattern: /^(?=.{2,254}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\/$/,
    allowed: 'a DNS name and a slash, like auth.example.io/',
  }),
  brokerUrl: url({
    doc: "The broker's URL as the pods see it; also the name its certificate must have",
  }),
  brokerFallbackAddress: optional(
    fallbackAddress(
      'Address to dial where the name of the broker cannot be resolved: ip, or ip:port where the port is not that of the URL',
    ),
  ),
  issuer: optional(
    url({ doc: 'The issuer of client tokens (AUTH_ISSUER); the broker URL unless set' }),
  ),
  image: text({
    doc: 'Image of the exchange container',
    pattern: /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$/,
    allowed: 'an image reference',
  }),
  imagePullPolicy: oneOf({
    doc: 'When the image is pulled',
    values: ['IfNotPresent', 'Always', 'Never'],
    default: 'IfNotPresent',
  }),
  exchangeCommand: json({
    doc: 'Program of the exchange container and its arguments, a JSON list; no shell is involved',
    default: ['/coatcheck-exchange'] as readonly string[],
    check: toCommand,
  }),
  mountRoot: mountRoot('Directory of the client tokens in the pods'),
  skipContainers: list({
    doc: 'Containers that get no token unless a pod names them',
    default: DEFAULT_SKIP_CONTAINERS,
    defaultText: DEFAULT_SKIP_CONTAINERS.join(','),
    pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    allowed: 'a container name',
  }),
  reservedAudiences: audiences(
    "Audiences that are refused beside the preset ones (the API server's own above all)",
  ),
  defaultMode: oneOf({
    doc: 'Mode of pods that state none; auto is refresh where restartPolicy is Always, else init',
    values: ['auto', 'init', 'refresh'],
    default: 'auto',
  }),
  initOrder: oneOf({
    doc: 'Place of the exchange among the init containers of pods that state none',
    values: ['first', 'last'],
    default: 'first',
  }),
  tokenExpirationSeconds: integer({
    doc: 'Life of the ServiceAccount token of pods that state none',
    default: 3600,
    ...TOKEN_EXPIRATION_BOUNDS,
  }),
  deadlineSeconds: integer({
    doc: 'Time for the first exchange of pods that state none',
    default: 60,
    ...DEADLINE_BOUNDS,
  }),
  exchangeCpuRequest: quantity('CPU request of the exchange container', {
    fallback: '10m',
    parse: parseCpu,
  }),
  exchangeCpuLimit: quantity(
    'CPU limit of the exchange container; with less than 500m pods start slowly',
    { fallback: '500m', parse: parseCpu },
  ),
  exchangeMemoryRequest: quantity('Memory request of the exchange container', {
    fallback: '48Mi',
    parse: parseMemory,
  }),
  // The program has up to 50 MiB resident, most of it shared pages of its file, and the startup probe is a second one.
  exchangeMemoryLimit: quantity(
    'Memory limit of the exchange container; it must hold two processes',
    { fallback: '128Mi', parse: parseMemory },
  ),
  tokensSizeLimit: quantity('Size limit of the volume of client tokens', {
    fallback: '1Mi',
    parse: parseMemory,
  }),
  podAnnotations: json({
    doc: 'Annotations added to injected pods that do not have them, a JSON object of strings (a port exclusion of a mesh)',
    default: {} as Readonly<Record<string, string>>,
    check: toAnnotations,
  }),
} as const;

export const WEBHOOK_TABLE = {
  ...INJECT_TABLE,
  brokerCaFile: optional(
    path({
      doc: 'PEM file of the authorities that sign the certificate of the broker; read again when it changes',
    }),
  ),
  listen: listenAddress({
    doc: 'Where AdmissionReviews are answered, over TLS',
    default: { host: '::', port: 8443 },
  }),
  operationsListen: listenAddress({
    doc: 'Where /livez, /readyz and /metrics are answered, over plain HTTP',
    default: { host: '::', port: 9443 },
  }),
  tlsCertFile: path({
    doc: 'PEM file of the serving certificate and its chain; read again when it changes',
  }),
  tlsKeyFile: path({ doc: 'PEM file of its key; read again when it changes' }),
  clientCaFile: optional(
    path({
      doc: 'PEM file of the authorities of client certificates; set, callers without one are turned away',
    }),
  ),
  reloadSeconds: integer({
    doc: 'How often the files are looked at for changes',
    default: 10,
    min: 1,
    max: 3600,
  }),
  drainSeconds: integer({
    doc: 'Time for requests in flight when the process is told to stop',
    default: 10,
    min: 0,
    max: 300,
  }),
  logLevel: oneOf({ doc: 'Least level of log lines', values: LOG_LEVELS, default: 'info' }),
} as const;

export type WebhookSettings = SettingsOf<typeof WEBHOOK_TABLE>;
export type InjectTableSettings = SettingsOf<typeof INJECT_TABLE>;

/** The settings of the process. @throws SettingsError with every problem. */
export function readWebhookSettings(source: SettingsSource): WebhookSettings {
  const { settings, operands } = readSettings(WEBHOOK_TABLE, source);
  const problems = [
    ...findConflicts(settings),
    ...operands.map(() => 'the webhook takes no arguments but flags'),
  ];
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

/** What no single setting can know is wrong. */
export function findConflicts({
  prefix,
  podAnnotations,
  exchangeCpuRequest,
  exchangeCpuLimit,
  ...rest
}: InjectTableSettings): readonly string[] {
  const problems: string[] = [];
  if (isPlainAndRemote(rest.brokerUrl)) {
    problems.push(
      'COATCHECK_BROKER_URL must be https, or on a loopback address: pods send it their ServiceAccount tokens',
    );
  }
  if (Object.keys(podAnnotations).some((key) => key.startsWith(prefix))) {
    problems.push('COATCHECK_POD_ANNOTATIONS must hold no annotation under our own prefix');
  }
  if (amountOf(exchangeCpuRequest) > amountOf(exchangeCpuLimit)) {
    problems.push(
      'COATCHECK_EXCHANGE_CPU_REQUEST must not be more than COATCHECK_EXCHANGE_CPU_LIMIT',
    );
  }
  if (amountOf(rest.exchangeMemoryRequest) > amountOf(rest.exchangeMemoryLimit)) {
    problems.push(
      'COATCHECK_EXCHANGE_MEMORY_REQUEST must not be more than COATCHECK_EXCHANGE_MEMORY_LIMIT',
    );
  }
  return problems;
}

/** The settings as the injection takes them. `brokerCa` is the content of the file, PEM. */
export function toInjectSettings(settings: InjectTableSettings, brokerCa?: string): InjectSettings {
  return { ...settings, issuer: settings.issuer ?? settings.brokerUrl, brokerCa };
}

function amountOf(quantity: string): number {
  return findAmount(quantity) ?? 0;
}

function isPlainAndRemote(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !/^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
