// The words of the pod's contract: annotation keys, reserved names, paths, variables. What other people's manifests
// depend on; a change here is a change of the product's interface (docs/annotations.md).

export const DEFAULT_PREFIX = 'auth.example.io/';
export const DEFAULT_MOUNT_ROOT = '/var/run/secrets/auth.example.io';

/** Names in the pod that are ours: added, or replaced whole where they differ. */
export const IDENTITY_VOLUME = 'coatcheck-identity';
export const TOKENS_VOLUME = 'coatcheck-tokens';
export const EXCHANGE_CONTAINER = 'coatcheck-exchange';
export const EXCHANGE_INIT_CONTAINER = 'coatcheck-exchange-init';

/** Where the exchange container, and nothing else, sees the ServiceAccount tokens: one file per audience's name. */
export const IDENTITY_MOUNT = '/var/run/coatcheck/identity';

/** Files below `<mount root>/<name>/`, and `ca.crt` at the root. `..data` is the symlink both files swap by. */
export const TOKEN_FILE = 'token';
export const TOKEN_JSON_FILE = 'token.json';
export const CA_FILE = 'ca.crt';
export const DATA_LINK = '..data';

/** Variables the apps get; never over the pod's own. */
export const APP_VARIABLES = [
  'AUTH_TOKEN_FILE',
  'AUTH_TOKEN_DIR',
  'AUTH_ISSUER',
  'AUTH_CA_FILE',
] as const;

/** Every annotation, without the prefix. Those of the next list also take a name of an audience after a dot. */
export const ANNOTATION_KEYS = [
  'audience',
  'mode',
  'role',
  'containers',
  'init-order',
  'token-expiration',
  'deadline',
  'status',
] as const;
export const NAMED_ANNOTATION_KEYS = ['audience', 'role', 'containers'] as const;

/** `audience.billing` is `audience` and `billing`; nothing where there is no such annotation. */
export function splitAnnotationKey(key: string): [base?: string, audience?: string] {
  if ((ANNOTATION_KEYS as readonly string[]).includes(key)) return [key];
  const dot = key.indexOf('.');
  const base = key.slice(0, Math.max(dot, 0));
  const isNamed = (NAMED_ANNOTATION_KEYS as readonly string[]).includes(base);
  return isNamed ? [base, key.slice(dot + 1)] : [];
}

export const MODES = ['init', 'refresh'] as const;
export type Mode = (typeof MODES)[number];

/** One audience of a pod, as the webhook tells the exchange (variable COATCHECK_AUDIENCES, a JSON list of these). */
export interface PodAudience {
  /** Directory below the mount root, and file name below {@link IDENTITY_MOUNT}. */
  readonly name: string;
  readonly audience: string;
  /** The role to ask for; the broker takes the one that fits where there is none. */
  readonly role?: string;
}

/** `token.json`: what the apps read who want more than the bare token. `expires_at` is RFC 3339 in UTC. */
export interface TokenFileContent {
  readonly access_token: string;
  readonly token_type: string;
  readonly issued_token_type: string;
  readonly expires_at: string;
  readonly audience: string;
  readonly scope: string;
}
