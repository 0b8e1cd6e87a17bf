// The settings of the exchange: the fixed contract with the webhook, which writes them as variables into the pod.
// They come from the operator alone; only the audiences and the mode follow the pod's annotations.
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import {
  DEFAULT_MOUNT_ROOT,
  IDENTITY_MOUNT,
  MODES,
  type PodAudience,
} from '../common/protocol/pod.ts';
import {
  flag,
  integer,
  json,
  type ListenAddress,
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
  toVariable,
  url,
} from '../common/settings.ts';
import { parseBundle } from './trust.ts';

const MAX_AUDIENCES = 8;
/** In a fallback address: none was given. */
const PORT_OF_URL = 0;

/** What the exchange can be told. `source` is needed because some settings are only right beside others. */
export function createSettingsTable(source: SettingsSource) {
  const given = (name: string) => source.environment?.[toVariable(name)] ?? '';
  return {
    mode: oneOf({
      values: MODES,
      default: 'init',
      doc: 'What to do: init fetches the tokens once and ends, refresh stays and keeps them fresh',
    }),
    brokerUrl: brokerUrl(given('insecurePlainHttp') === 'true'),
    brokerFallbackAddress: optional(fallbackAddress()),
    brokerCa: optional(
      pem(
        'The PEM bundle that verifies the broker; the roots of the runtime where none is given',
        (value) => value,
      ),
    ),
    brokerCaFile: optional(
      pem('A file with that bundle, instead of the text itself', (file) => {
        if (given('brokerCa') !== '') throw new Error('must not be set beside COATCHECK_BROKER_CA');
        return readBundleFile(file);
      }),
    ),
    audiences: json<readonly PodAudience[]>({
      doc: 'JSON list of {"name", "audience", "role"?}: which tokens to fetch',
      check: checkAudiences,
    }),
    identityDir: path({
      absolute: true,
      default: IDENTITY_MOUNT,
      doc: 'Directory with one ServiceAccount token per audience, by name',
    }),
    tokensDir: path({
      absolute: true,
      default: DEFAULT_MOUNT_ROOT,
      doc: 'Directory under which the client tokens are written',
    }),
    deadlineSeconds: integer({
      min: 1,
      max: 600,
      default: 60,
      doc: 'How long the first exchange of all audiences may take',
    }),
    tryTimeoutSeconds: integer({
      min: 1,
      max: 60,
      default: 10,
      doc: 'How long one request to the broker may take',
    }),
    terminationLog: path({
      default: '/dev/termination-log',
      doc: 'File for the reason of a failure, shown by kubectl describe pod',
    }),
    logFormat: oneOf({ values: ['text', 'json'], default: 'text', doc: 'Form of the log lines' }),
    insecurePlainHttp: flag({
      default: false,
      doc: 'Allow a broker URL with http: on another host than this one; tokens then travel in the clear',
    }),
    check: flag({
      default: false,
      flagOnly: true,
      doc: 'Only say by the exit code whether every token is there and has not expired (the startup probe)',
    }),
  };
}

/** The table as the documents show it. */
export const EXCHANGE_SETTINGS = createSettingsTable({});

export type ExchangeSettings = SettingsOf<ReturnType<typeof createSettingsTable>>;

/**
 * Reads the settings of one run.
 * @throws SettingsError with every problem at once, none with a value in it.
 */
export function readExchangeSettings(source: SettingsSource): ExchangeSettings {
  const { settings, operands } = readSettings(createSettingsTable(source), source);
  if (operands.length > 0)
    throw new SettingsError(['coatcheck exchange takes flags only, no operands']);
  return settings;
}

function brokerUrl(allowPlain: boolean): Setting<string> {
  const plain = url({
    doc: 'Base URL of the broker; its host is also the name its certificate must have',
  });
  return {
    ...plain,
    parse: (value) => {
      const parsed = plain.parse(value);
      const { protocol, hostname } = new URL(parsed);
      if (protocol === 'http:' && !isLoopback(hostname) && !allowPlain) {
        throw new Error('must be an https URL (http only for this host itself)');
      }
      return parsed;
    },
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function fallbackAddress(): Setting<ListenAddress> {
  return {
    kind: 'ip[:port]',
    doc: 'Address of the broker, dialled where its name cannot be resolved; the name is still verified, and the port is that of the URL unless given',
    parse: (value) => {
      if (isIP(value) !== 0) return { host: value, port: PORT_OF_URL };
      const address = parseOrUndefined(value);
      if (!address || isIP(address.host) === 0 || address.port === 0 || value.startsWith(':')) {
        throw new Error('must be an IP address, ip:port or [v6]:port');
      }
      return address;
    },
  };
}

function parseOrUndefined(value: string): ListenAddress | undefined {
  try {
    return parseListenAddress(value);
  } catch {
    return undefined;
  }
}

function pem(doc: string, read: (value: string) => string): Setting<string> {
  return {
    ...text({ doc }),
    kind: 'pem',
    parse: (value) => {
      const bundle = read(value);
      parseBundle(bundle);
      return bundle;
    },
  };
}

function readBundleFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(
      `must be a readable file (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`,
    );
  }
}

function checkAudiences(value: unknown): readonly PodAudience[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_AUDIENCES) {
    throw new Error(`must be a JSON list of 1 to ${MAX_AUDIENCES} audiences`);
  }
  const audiences = value.map((item: unknown, index) => checkAudience(item, `item ${index + 1}`));
  for (const member of ['name', 'audience'] as const) {
    if (new Set(audiences.map((one) => one[member])).size !== audiences.length) {
      throw new Error(`must not hold the same "${member}" twice`);
    }
  }
  return audiences;
}

const MEMBERS: Readonly<Record<string, { pattern: RegExp; allowed: string }>> = {
  name: { pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, allowed: 'a DNS label' },
  audience: {
    pattern: /^[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255}$/,
    allowed: '1 to 255 printable ASCII characters without space, comma, quote and backslash',
  },
  role: {
    pattern: /^[\x21-\x7e]{1,253}$/,
    allowed: '1 to 253 printable ASCII characters without space',
  },
};

function checkAudience(item: unknown, where: string): PodAudience {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw new Error(`${where}: must be an object`);
  }
  const members = item as Record<string, unknown>;
  if (Object.keys(members).some((key) => !Object.hasOwn(MEMBERS, key))) {
    throw new Error(`${where}: may hold only ${Object.keys(MEMBERS).join(', ')}`);
  }
  for (const [key, { pattern, allowed }] of Object.entries(MEMBERS)) {
    const value = members[key];
    if (value === undefined && key === 'role') continue;
    if (typeof value !== 'string' || !pattern.test(value)) {
      throw new Error(`${where}: "${key}" must be ${allowed}`);
    }
  }
  return members as unknown as PodAudience;
}
