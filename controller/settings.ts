// The settings of the controller: which cluster it speaks for, where the brokers are, where its credentials are.
import { LOG_LEVELS } from '../common/log.ts';
import { DEFAULT_PREFIX } from '../common/protocol/pod.ts';
import {
  flag,
  integer,
  type ListenAddress,
  list,
  listenAddress,
  oneOf,
  optional,
  parseListenAddress,
  path,
  readSettings,
  type Setting,
  SettingsError,
  type SettingsOf,
  type SettingsSource,
  text,
  url,
} from '../common/settings.ts';
import { CERTIFICATE_SETTINGS, findCertificateConflicts } from './certificates/settings.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export const CONTROLLER_SETTINGS = {
  cluster: text({
    doc: 'Name of this cluster in the table of the broker',
    default: 'main',
    pattern: LABEL,
    allowed: 'a DNS label: lower-case letters, digits and dashes, at most 63',
  }),
  brokerUrl: url({ doc: 'URL of the broker; also the name that its certificate must have' }),
  brokersService: optional(
    service(
      'Name and port behind which every address is one replica of the broker (a headless Service); the URL alone, as one place, unless set',
    ),
  ),
  brokerCaFile: optional(
    path({
      doc: "PEM file of the authorities that sign the broker's certificate; read for each request. The public ones unless set",
    }),
  ),
  tokenFile: path({
    doc: "File of our ServiceAccount token for the broker's audience coatcheck-control; read for each request",
    default: '/var/run/secrets/coatcheck/token',
  }),
  apiServerUrl: url({
    doc: 'URL of the API server of this cluster',
    default: 'https://kubernetes.default.svc',
  }),
  apiServerCaFile: path({
    doc: 'PEM file of its authorities; read for each request',
    default: `${ACCOUNT}/ca.crt`,
  }),
  apiServerTokenFile: path({
    doc: 'File of our token for it; read for each request',
    default: `${ACCOUNT}/token`,
  }),
  prefix: text({
    doc: 'Prefix of our annotations, with its slash',
    default: DEFAULT_PREFIX,
    pattern: /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/$/,
    allowed: 'a DNS name and a slash, like auth.example.io/',
  }),
  namespace: text({
    doc: 'Namespace of the Lease',
    pattern: LABEL,
    allowed: 'a name of a namespace',
  }),
  leaseName: text({
    doc: 'Name of the Lease: of all controllers that use it, one acts at a time',
    default: 'coatcheck-controller',
    pattern: /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
    allowed: 'lower-case letters, digits, dashes and dots',
  }),
  identity: text({
    doc: 'First part of the name under which the Lease is held, the name of the pod; a random part follows',
    default: 'controller',
    pattern: /^[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?$/,
    allowed: 'a name of a pod',
  }),
  liveSetSeconds: integer({
    doc: 'How often everything that lives is listed and sent to every broker',
    default: 300,
    min: 30,
    max: 3600,
  }),
  pushKeys: flag({
    doc: "Send the broker this cluster's public keys: for a broker that cannot reach this API server. Its entry of this cluster must say that they are pushed",
    default: false,
  }),
  keysSeconds: integer({
    doc: 'With pushKeys: how often the API server is asked whether its keys changed',
    default: 60,
    min: 1,
    max: 600,
  }),
  excludeNamespaces: list({
    doc: 'Namespaces whose pods the webhook does not see: they are never missed',
    default: [],
    defaultText: 'none',
    pattern: LABEL,
    allowed: 'a name of a namespace',
  }),
  missedNamespaces: list({
    doc: 'Where pods that missed injection are looked for, names with one * at most in each; needed where the webhook sees some namespaces only',
    default: [],
    defaultText: 'all namespaces',
    pattern: /^(?=.{1,63}$)[-a-z0-9]*\*?[-a-z0-9]*$/,
    allowed: 'a name of a namespace, with one * at most',
  }),
  evictMissed: flag({
    doc: 'Evict pods that missed injection, where something makes others in their place',
    default: false,
  }),
  evictionsPerMinute: integer({
    doc: 'With evictMissed: so many evictions in a minute at most',
    default: 6,
    min: 1,
    max: 600,
  }),
  ...CERTIFICATE_SETTINGS,
  operationsListen: listenAddress({
    doc: 'Where /livez, /readyz and /metrics are answered, over plain HTTP',
    default: { host: '::', port: 8082 },
  }),
  logLevel: oneOf({ doc: 'Least level of log lines', values: LOG_LEVELS, default: 'info' }),
} as const;

export type ControllerSettings = SettingsOf<typeof CONTROLLER_SETTINGS>;

/** The settings of the process. @throws SettingsError with every problem. */
export function readControllerSettings(source: SettingsSource): ControllerSettings {
  const { settings, operands } = readSettings(CONTROLLER_SETTINGS, source, findConflicts);
  if (operands.length > 0) {
    throw new SettingsError(operands.map(() => 'the controller takes no arguments but flags'));
  }
  return settings;
}

function findConflicts(given: Partial<ControllerSettings>): readonly string[] {
  const { brokerUrl, apiServerUrl } = given;
  const toProblem = (name: string) =>
    `${name} must be https, or on a loopback address: it is sent a ServiceAccount token`;
  return [
    ...(isPlainAndRemote(brokerUrl) ? [toProblem('COATCHECK_BROKER_URL')] : []),
    ...(isPlainAndRemote(apiServerUrl) ? [toProblem('COATCHECK_API_SERVER_URL')] : []),
    ...findCertificateConflicts(given),
  ];
}

function isPlainAndRemote(value: string | undefined): boolean {
  if (value === undefined) return false;
  const { protocol, hostname } = new URL(value);
  return protocol === 'http:' && !/^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}

function service(doc: string): Setting<ListenAddress> {
  const parse = (value: string): ListenAddress => {
    const address = parseListenAddress(value);
    if (address.host === '::' || address.port === 0) throw new Error('must be name:port');
    return address;
  };
  return { kind: 'name:port', doc, parse };
}
