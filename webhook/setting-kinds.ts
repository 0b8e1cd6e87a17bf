// Kinds of settings that only the webhook has: quantities, a mount root, a command, annotations. Each says what is allowed
// and never shows the value.
import { isIP } from 'node:net';
import { posix } from 'node:path';
import { AUDIENCE_RULE, isAudience } from '../common/protocol/audiences.ts';
import { DEFAULT_MOUNT_ROOT, IDENTITY_MOUNT } from '../common/protocol/pod.ts';
import { list, parseListenAddress, path, type Setting, text } from '../common/settings.ts';
import { isObject } from './json.ts';

/** A Kubernetes quantity, brought into canonical form by `parse`. */
export function quantity(
  doc: string,
  { fallback, parse }: { fallback: string; parse: (text: string) => string },
): Setting<string> {
  return { ...text({ doc, default: fallback }), kind: 'quantity', parse };
}

// Not below, not above, not at: the exchange needs the one, the API server's tokens live in the other.
const TAKEN_PATHS = [
  IDENTITY_MOUNT,
  '/var/run/secrets/kubernetes.io/serviceaccount',
  '/dev',
  '/proc',
  '/sys',
];

/** An absolute path at which a volume can be mounted without covering what a container needs. */
export function mountRoot(doc: string): Setting<string> {
  const plain = path({ doc, absolute: true, default: DEFAULT_MOUNT_ROOT });
  return {
    ...plain,
    parse: (value) => {
      const isNormal = posix.normalize(value) === value && /^(\/[A-Za-z0-9._-]+){2,}$/.test(value);
      const overlaps = TAKEN_PATHS.some(
        (taken) =>
          value === taken || value.startsWith(`${taken}/`) || taken.startsWith(`${value}/`),
      );
      if (!isNormal || overlaps || value.length > 200) {
        throw new Error(
          'must be an absolute path of at least two plain parts and at most 200 characters, apart from /dev, /proc, /sys and from where ServiceAccount tokens are mounted',
        );
      }
      return value;
    },
  };
}

/** `ip`, `ip:port` or `[v6]:port`: no name, because it is dialled where names cannot be resolved. */
export function fallbackAddress(doc: string): Setting<string> {
  const parse = (value: string): string => {
    if (isIP(value) !== 0) return value;
    const message = 'must be an IP address, or one with a port like 10.96.0.7:443 or [fd00::7]:443';
    try {
      const { host, port } = parseListenAddress(value);
      if (isIP(host) === 0 || host === '::' || port === 0) throw new Error(message);
    } catch (error) {
      throw new Error(message, { cause: error });
    }
    return value;
  };
  return { ...text({ doc }), kind: 'ip[:port]', parse };
}

export function audiences(doc: string): Setting<readonly string[]> {
  const plain = list({ doc, default: [], defaultText: 'none' });
  return {
    ...plain,
    parse: (value) => {
      const items = plain.parse(value);
      if (!items.every(isAudience)) throw new Error(`every item must be ${AUDIENCE_RULE}`);
      return items;
    },
  };
}

/** A command from JSON. @throws Error that says what is allowed. */
export function toCommand(value: unknown): readonly string[] {
  const isCommand = Array.isArray(value) && value.length > 0 && value.length <= 32;
  if (
    !isCommand ||
    !value.every((part) => typeof part === 'string' && part !== '' && !part.includes('\0'))
  ) {
    throw new Error('must be a JSON list of 1 to 32 strings, like ["/coatcheck-exchange"]');
  }
  return value as readonly string[];
}

const ANNOTATION_KEY =
  /^(?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** Annotations from JSON. @throws Error that says what is allowed. */
export function toAnnotations(value: unknown): Readonly<Record<string, string>> {
  const isMap =
    isObject(value) &&
    Object.entries(value).every(
      ([key, one]) => ANNOTATION_KEY.test(key) && typeof one === 'string',
    );
  if (!isMap) throw new Error('must be a JSON object from annotation keys to strings');
  return value as Readonly<Record<string, string>>;
}
