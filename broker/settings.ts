// The settings of the broker. Clusters, roles and keys are files of their own, named here.

import { LOG_LEVELS } from '../common/log.ts';
import { isAudience } from '../common/protocol/audiences.ts';
import {
  flag,
  integer,
  list,
  listenAddress,
  oneOf,
  optional,
  path,
  type Setting,
  type SettingsOf,
  url,
} from '../common/settings.ts';
import { isKeyUrl } from './identity/address.ts';
import { type ControllerIdentity, parseControllerIdentity } from './identity/clusters.ts';
import { parseNetworks } from './peer.ts';
import { parseStoreChoice, type StoreChoice } from './store/open.ts';
import { SIGNING_ALGORITHMS } from './tokens/keys.ts';

const DAY_SECONDS = 86_400;
/** Compared by identity: `none` as a default is not `none` as it was asked for. */
const NO_STORE: StoreChoice = { kind: 'none' };
/** Six times as long as a key is announced. */
const SHORTEST_ROTATION_SECONDS = 3600;
/** What no setting exceeds. */
export const LONGEST_TOKEN_SECONDS = 30 * DAY_SECONDS;

export const BROKER_SETTINGS = {
  issuer: issuer({
    doc: 'The `iss` of our tokens and the base of all metadata: an https URL without path, the one under which pods reach the broker',
  }),
  clustersFile: path({
    doc: 'YAML file with the table of clusters whose ServiceAccount tokens are accepted; reloaded as it changes (docs/clusters.md)',
  }),
  rolesPath: path({ doc: 'Folder of role files (YAML), or one such file; reloaded as it changes' }),
  signingKeysDir: optional(
    path({
      doc: 'Folder of private signing keys (P-256, Ed25519 or RSA; PEM or JWK), usually a mounted Secret; the last by name signs, ten minutes after it appeared. Instead of it, with a store: `keyEncryptionKeysDir`',
    }),
  ),
  keyEncryptionKeysDir: optional(
    path({
      doc: 'Folder of 32-byte keys (raw or base64), usually a mounted Secret, that seal the signing keys in the store; the last by name seals, all open; reloaded as it changes (docs/keys.md)',
    }),
  ),
  signingAlgorithm: oneOf({
    values: SIGNING_ALGORITHMS,
    default: 'ES256',
    doc: 'Algorithm of signing keys that the store is to keep, from the next one on',
  }),
  signingKeyRotationSeconds: integer({
    default: 30 * DAY_SECONDS,
    min: 0,
    max: 400 * DAY_SECONDS,
    doc: 'Age at which a signing key in the store gets a successor; at least an hour; 0: only by `coatcheck keys rotate`',
  }),
  listen: listenAddress({
    default: { host: '::', port: 8443 },
    doc: 'Address of the token endpoint and the metadata',
  }),
  operationsListen: listenAddress({
    default: { host: '::', port: 8081 },
    doc: 'Address of /livez, /readyz and /metrics; plain HTTP, never to be exposed',
  }),
  adminListen: optional(
    listenAddress({
      doc: 'Address of the admin API (/api), which `listen` then does not serve; with the same certificate',
    }),
  ),
  tlsCertFile: optional(
    path({ doc: 'Serving certificate with its chain, PEM; reloaded as it changes' }),
  ),
  tlsKeyFile: optional(path({ doc: 'Key of that certificate, PEM' })),
  insecurePlainHttp: flag({
    default: false,
    doc: 'Serve without TLS and allow an http issuer: ServiceAccount tokens then cross the network in the clear, unless something in front ends TLS on this host',
  }),
  caBundleFile: optional(
    path({
      doc: 'CA bundle that pods should trust from now on, PEM; sent with an answer to those whose bundle differs; reloaded as it changes',
    }),
  ),
  maxTokenTtlSeconds: integer({
    default: DAY_SECONDS,
    min: 60,
    max: LONGEST_TOKEN_SECONDS,
    doc: 'Ceiling on the life of every client token, whatever its role says',
  }),
  store: store({
    doc: 'Where state is kept: `none`, `sqlite:PATH` (one replica) or `postgres://USER:PASSWORD@HOST/DATABASE` (docs/store.md). A URL with a password belongs in the variable or in the file below, not in a flag',
  }),
  storeFile: optional(
    path({
      doc: 'File that holds what `store` would say, usually of a mounted Secret; instead of it',
    }),
  ),
  storeAwaySeconds: integer({
    default: 300,
    min: 0,
    max: 3600,
    doc: 'So long tokens are answered for from memory while the store does not answer; a revocation made meanwhile elsewhere is not seen until it does',
  }),
  keepDecisionsSeconds: integer({
    default: 7 * DAY_SECONDS,
    min: 0,
    max: 90 * DAY_SECONDS,
    doc: 'How long decisions can be looked up in the store; the audit records on standard output are the lasting ones',
  }),
  maxDecisions: integer({
    default: 100_000,
    min: 0,
    max: 10_000_000,
    doc: 'How many decisions can be looked up in the store, about 2 KiB each; the oldest go first',
  }),
  maxTokensPerIdentity: integer({
    default: 64,
    min: 1,
    max: 10_000,
    doc: 'Opaque tokens of one pod (or other identity) that live at once; one more ends the oldest',
  }),
  maxStaticTokenTtlSeconds: integer({
    default: 90 * DAY_SECONDS,
    min: 60,
    max: 3650 * DAY_SECONDS,
    doc: 'Ceiling on the life of static tokens, those that are made by name at the admin API',
  }),
  bootstrapTokenFile: optional(
    path({
      doc: 'File with the token of the first administrator, usually of a mounted Secret: 32 random characters at least. It is taken into use once for ever, and needs a store',
    }),
  ),
  bootstrapTtlSeconds: integer({
    default: 3600,
    min: 60,
    max: 30 * DAY_SECONDS,
    doc: 'How long the bootstrap token lives after it was taken into use',
  }),
  receiversFile: optional(
    path({
      doc: 'YAML file that says which receivers may introspect tokens of which audiences; reloaded as it changes; without it nobody may',
    }),
  ),
  formerIssuers: list({
    default: [],
    doc: 'Values that the issuer had before: tokens of ours from then stay good until they end',
  }),
  reservedAudiences: list({
    default: [],
    doc: "Audiences that no role may have, besides the built-in ones (the API server's, cloud STS names, our own)",
  }),
  allowBrokerPolicies: list({
    default: [],
    doc: 'Policies with power at the broker itself that roles may name (`root`, `coatcheck:…`); none by default',
  }),
  allowExtraClaims: list({
    default: [],
    doc: 'Claim names that roles may set although they are refused by default (registered JWT claims, `groups`, `email` …)',
  }),
  tokenRoles: flag({
    default: false,
    doc: 'Read roles from TokenRole objects of the API server, too, and say in their status what became of them',
  }),
  namespaceLabels: oneOf({
    values: ['auto', 'off'],
    default: 'auto',
    doc: 'Read the labels of namespaces as soon as a role has a `namespaceSelector`; off: such a role fits nobody',
  }),
  apiServerUrl: optional(
    url({
      doc: "The API server of the broker's own cluster, for TokenRoles, labels of namespaces and rights; as for any pod unless set",
    }),
  ),
  apiServerCaFile: optional(path({ doc: 'CA of that API server, PEM; as for any pod unless set' })),
  apiServerTokenFile: optional(
    path({
      doc: "The broker's credential there, read anew for each request; as for any pod unless set",
    }),
  ),
  controllerIdentity: optional(
    controllerIdentity({
      doc: "`NAMESPACE/SERVICEACCOUNT` of the own cluster's controller, whose word on dead and living pods counts, where its entry of the clusters table names none (docs/liveness.md)",
    }),
  ),
  allowPrivateClusterAddresses: flag({
    default: false,
    doc: 'Clusters that are registered through the API may have their keys at addresses of private networks (and over http on loopback), which whoever may register clusters can then make the broker ask (docs/clusters.md)',
  }),
  liveReportAlarmSeconds: integer({
    default: 600,
    min: 60,
    max: DAY_SECONDS,
    doc: 'A cluster that reported which pods live, and then does not for so long, is warned of',
  }),
  sourceRefusalsPerSecond: integer({
    default: 50,
    min: 0,
    max: 100_000,
    doc: 'Requests of one address (an IPv6 /64) that may prove nothing, and ten seconds of that at once; beyond it its requests take turns behind all others, and its refusals are counted, not logged one by one. 0: no limit',
  }),
  identityRequestsPerSecond: integer({
    default: 50,
    min: 0,
    max: 100_000,
    doc: 'Tokens that one pod (or other identity) may ask for, and ten seconds of that at once; beyond it 429. 0: no limit',
  }),
  maxConnections: integer({
    default: 5000,
    min: 0,
    max: 1_000_000,
    doc: 'Connections open at once, half of them of one address (an IPv6 /64) at most; about 50 KiB each. 0: no limit',
  }),
  trustedProxies: list({
    default: [],
    doc: 'Addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For says where a request came from; nobody else is believed',
  }),
  logLevel: oneOf({
    values: LOG_LEVELS,
    default: 'info',
    doc: 'Lines below this level are not written',
  }),
  drainSeconds: integer({
    default: 20,
    min: 0,
    max: 600,
    doc: "How long requests in flight may take after SIGTERM; below the pod's terminationGracePeriodSeconds",
  }),
};

export type BrokerSettings = SettingsOf<typeof BROKER_SETTINGS>;

function issuer(options: { doc: string }): Setting<string> {
  const base = url(options);
  return {
    ...base,
    parse: (text) => {
      const value = base.parse(text);
      // Receivers find `/.well-known/…` below the issuer, and RFC 8414 and OpenID differ on where that is with a path.
      if (URL.parse(value)?.pathname !== '/') throw new Error('must be a URL without path');
      return value;
    },
  };
}

function controllerIdentity({ doc }: { doc: string }): Setting<ControllerIdentity> {
  return { kind: 'namespace/name', doc, parse: parseControllerIdentity };
}

function store({ doc }: { doc: string }): Setting<StoreChoice> {
  return {
    kind: 'none|sqlite:PATH|postgres://…',
    doc,
    parse: parseStoreChoice,
    default: NO_STORE,
    defaultText: 'none',
  };
}

function findSigningProblems({
  signingKeysDir,
  keyEncryptionKeysDir,
  signingKeyRotationSeconds = 0,
}: Partial<BrokerSettings>): string[] {
  const problems: string[] = [];
  if (signingKeysDir !== undefined && keyEncryptionKeysDir !== undefined)
    problems.push(
      'COATCHECK_SIGNING_KEYS_DIR and COATCHECK_KEY_ENCRYPTION_KEYS_DIR exclude one another: signing keys are files, or in the store',
    );
  if (signingKeysDir === undefined && keyEncryptionKeysDir === undefined)
    problems.push(
      'COATCHECK_SIGNING_KEYS_DIR (signing keys are files) or COATCHECK_KEY_ENCRYPTION_KEYS_DIR (the store keeps them) is required',
    );
  if (signingKeyRotationSeconds > 0 && signingKeyRotationSeconds < SHORTEST_ROTATION_SECONDS)
    problems.push(
      `COATCHECK_SIGNING_KEY_ROTATION_SECONDS must be 0 or at least ${SHORTEST_ROTATION_SECONDS}`,
    );
  return problems;
}

function findProxyProblems({ trustedProxies = [] }: Partial<BrokerSettings>): string[] {
  try {
    parseNetworks(trustedProxies);
    return [];
  } catch (error) {
    return [`COATCHECK_TRUSTED_PROXIES: ${(error as Error).message}`];
  }
}

/** What a table cannot say row by row: settings that are only right, or only wrong, together. */
export function findSettingsProblems(settings: Partial<BrokerSettings>): string[] {
  const problems: string[] = [];
  const { tlsCertFile, tlsKeyFile, insecurePlainHttp } = settings;
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    problems.push('COATCHECK_TLS_CERT_FILE and COATCHECK_TLS_KEY_FILE go together');
  }
  if (tlsCertFile === undefined && tlsKeyFile === undefined && !insecurePlainHttp) {
    problems.push(
      'COATCHECK_TLS_CERT_FILE and COATCHECK_TLS_KEY_FILE are required; COATCHECK_INSECURE_PLAIN_HTTP=true serves without TLS',
    );
  }
  if (settings.issuer?.startsWith('http:') && !insecurePlainHttp) {
    problems.push(
      'COATCHECK_ISSUER must be an https URL; COATCHECK_INSECURE_PLAIN_HTTP=true allows http',
    );
  }
  if (settings.apiServerUrl !== undefined && !isKeyUrl(settings.apiServerUrl)) {
    problems.push('COATCHECK_API_SERVER_URL must be an https URL (http on loopback only)');
  }
  problems.push(...findSigningProblems(settings));
  problems.push(...findProxyProblems(settings));
  if (settings.reservedAudiences && !settings.reservedAudiences.every(isAudience)) {
    problems.push('COATCHECK_RESERVED_AUDIENCES holds something that is no audience');
  }
  if (settings.storeFile !== undefined && settings.store !== NO_STORE) {
    problems.push('COATCHECK_STORE and COATCHECK_STORE_FILE exclude each other');
  }
  return problems;
}
