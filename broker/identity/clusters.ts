// The table of clusters and OIDC issuers the broker believes: which `iss`, which keys, which algorithms. Nothing outside
// it is ever fetched. This file reads and checks the table; jwks.ts gets the keys, verify.ts uses them, cluster-review.ts
// has what is about TokenReview, oidc-issuer.ts what is about issuers outside Kubernetes.
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { checkDocument, readDocuments } from '../../common/documents.ts';
import { isKeyUrl } from './address.ts';
import {
  apiServerSchema,
  file,
  findReviewProblems,
  findReviewSettings,
  IN_CLUSTER_API_SERVER,
  type ReviewSettings,
  reviewFields,
  type ValidationMode,
  webUrl,
} from './cluster-review.ts';
import { pushedSchema, readFirstSet } from './first-key-set.ts';
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './keys.ts';
import {
  discoverySchema,
  findOidcProblems,
  oidcFields,
  toDiscovery,
  toOidcKeys,
} from './oidc-issuer.ts';

/** Where a cluster's public keys come from. URLs are https, or http on loopback; paths are absolute. */
export type KeysFrom =
  | ({ readonly from: 'url'; readonly url: string } & Trust)
  | {
      /** `/openid/v1/jwks` of an API server, asked with the broker's credential for it. */
      readonly from: 'apiServer';
      readonly url: string;
      readonly caFile: string;
      readonly tokenFile: string;
    }
  | (Trust & {
      /**
       * OpenID discovery below `url`; `jwksUri` replaces the address found there (EKS names an unreachable one), which
       * must otherwise be on the same host or one of `jwksHosts`.
       */
      readonly from: 'discovery';
      readonly url: string;
      readonly jwksUri?: string;
      readonly jwksHosts?: readonly string[];
    })
  | { readonly from: 'file'; readonly file: string }
  | {
      /** The cluster's controller hands them in; until it does, the first ones serve. */
      readonly from: 'pushed';
      /** A JWKS as {@link parseKeySet} writes it. Another one is another registration: pushes before it count no more. */
      readonly first: string;
    };

export type FetchedKeys = Exclude<KeysFrom, { from: 'pushed' }>;

interface Trust {
  /** The system's roots where neither is there. */
  readonly caFile?: string;
  /** PEM. */
  readonly ca?: string;
  /** No address of a private network is asked. */
  readonly publicOnly?: boolean;
}

interface AnyEntry {
  readonly name: string;
  /** Written through the API; absent: it stands in the operator's file. */
  readonly isRegistered?: true;
  /** Exact values of `iss`; more than one while a cluster moves to another. */
  readonly issuers: readonly string[];
  readonly algorithms: readonly SigningAlgorithm[];
  /** How often the keys are fetched anew. */
  readonly refreshSeconds: number;
  /** How long keys serve after their last good fetch, or push. */
  readonly maxStalenessSeconds: number;
  /** Least time between two fetches, whatever tokens ask for. */
  readonly cooldownSeconds: number;
}

export interface KubernetesCluster extends AnyEntry {
  readonly kind: 'kubernetes';
  /** The broker's own cluster: what a role's subject means that names none. Exactly one is, if there is any. */
  readonly own: boolean;
  readonly validation: ValidationMode;
  /** Absent for `review` without keys: then nothing of a token can be checked before the API server was asked. */
  readonly keys?: KeysFrom;
  /** Absent for `offline`. */
  readonly review?: ReviewSettings;
  /** Whose word on who is dead and who lives in this cluster counts; absent: nobody's. */
  readonly controller?: ControllerIdentity;
}

/** A ServiceAccount of the cluster itself. */
export interface ControllerIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** An issuer outside Kubernetes; nobody can be asked about its tokens. */
export interface OidcIssuer extends AnyEntry {
  readonly kind: 'oidc';
  readonly own: false;
  readonly validation: 'offline';
  readonly keys: KeysFrom;
  readonly review?: never;
  /** Tokens issued longer ago are refused, whatever their `exp`. */
  readonly maxTokenAgeSeconds: number;
}

/** An entry of the table. */
export type Cluster = KubernetesCluster | OidcIssuer;

export type ClusterWithKeySource = Cluster & { readonly keys: KeysFrom };

export function hasKeySource(cluster: Cluster): cluster is ClusterWithKeySource {
  return cluster.keys !== undefined;
}

// What kube-apiserver can sign with (its --service-account-signing-key-file takes RSA and ECDSA keys).
export const DEFAULT_ALGORITHMS: readonly SigningAlgorithm[] = ['RS256', 'ES256', 'ES384', 'ES512'];
export const DEFAULT_MAX_STALENESS_SECONDS = 24 * 3600;
export const REFRESH_SECONDS = { network: 300, file: 5 } as const;
export const COOLDOWN_SECONDS = { network: 10, file: 1 } as const;

/** Everything wrong with the clusters table, in one message that quotes no value. */
export class ClustersError extends Error {
  readonly problems: readonly string[];

  constructor(file: string, problems: readonly string[]) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    super(
      `${count} with the clusters file ${file}:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
    );
    this.name = 'ClustersError';
    this.problems = problems;
  }
}

const keysSchema = z
  .strictObject({
    url: webUrl.optional(),
    caFile: file.optional(),
    apiServer: apiServerSchema.optional(),
    discovery: discoverySchema.optional(),
    file: file.optional(),
    pushed: pushedSchema.optional(),
  })
  .superRefine((keys, context) => {
    const ways = ['url', 'apiServer', 'discovery', 'file', 'pushed'] as const;
    if (ways.filter((way) => keys[way] !== undefined).length !== 1) {
      context.addIssue({ code: 'custom', message: `must have exactly one of ${ways.join(', ')}` });
    }
    if (keys.caFile !== undefined && keys.url === undefined) {
      context.addIssue({ code: 'custom', path: ['caFile'], message: 'goes with url only' });
    }
  });

export const issuer = z.string().min(1).max(512);
export const seconds = (min: number, max: number) => z.int().min(min).max(max);

/** One ServiceAccount, no pattern. */
const CONTROLLER_NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;
const CONTROLLER_RULE =
  'a name as Kubernetes has them: lower-case letters, digits, dashes and dots';

/** @throws Error that says what is allowed */
export function parseControllerIdentity(text: string): ControllerIdentity {
  const [namespace = '', serviceAccount = '', ...more] = text.split('/');
  if (more.length > 0 || ![namespace, serviceAccount].every((one) => CONTROLLER_NAME.test(one)))
    throw new Error('must be NAMESPACE/SERVICEACCOUNT');
  return { namespace, serviceAccount };
}

/** The table, where the own cluster's controller is the given one unless its entry names one. */
export function withController(
  clusters: readonly Cluster[],
  controller: ControllerIdentity | undefined,
): readonly Cluster[] {
  return clusters.map((cluster) =>
    cluster.kind === 'kubernetes' && cluster.own && controller && !cluster.controller
      ? Object.freeze({ ...cluster, controller })
      : cluster,
  );
}

const sharedFields = {
  name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, {
    error: 'must be a DNS label: lower-case letters, digits and dashes, at most 63',
  }),
  refreshSeconds: seconds(1, 86_400).optional(),
  maxStalenessSeconds: seconds(1, 30 * 86_400).default(DEFAULT_MAX_STALENESS_SECONDS),
  cooldownSeconds: seconds(1, 3600).optional(),
};

export const controllerSchema = z.strictObject({
  namespace: z.string().regex(CONTROLLER_NAME, { error: `must be ${CONTROLLER_RULE}` }),
  serviceAccount: z.string().regex(CONTROLLER_NAME, { error: `must be ${CONTROLLER_RULE}` }),
});

const clusterSchema = z
  .strictObject({
    ...sharedFields,
    kind: z.literal('kubernetes'),
    own: z.boolean().optional(),
    issuer: issuer.optional(),
    issuers: z.array(issuer).min(1).max(8).optional(),
    ...reviewFields,
    controller: controllerSchema.optional(),
    keys: keysSchema.optional(),
    algorithms: z
      .array(z.enum(SIGNING_ALGORITHMS))
      .min(1)
      .default([...DEFAULT_ALGORITHMS]),
  })
  .superRefine((entry, context) => {
    if ((entry.issuer === undefined) === (entry.issuers === undefined)) {
      context.addIssue({ code: 'custom', message: 'must have either issuer or issuers' });
    }
  });

const issuerSchema = z.strictObject({ ...sharedFields, ...oidcFields });

const entrySchema = z.discriminatedUnion('kind', [clusterSchema, issuerSchema], {
  error: ({ code }) => (code === 'invalid_union' ? 'must be one of kubernetes, oidc' : undefined),
});
const tableSchema = z.strictObject({ clusters: z.array(entrySchema).min(1) });
type Entry = z.infer<typeof entrySchema>;
type ClusterEntry = z.infer<typeof clusterSchema>;

export interface ParseOptions {
  /** Its path: problems name it, and relative paths in it start from its folder. */
  readonly file: string;
  /** Reads what `keys.pushed.file` names; the disk unless a caller wants to know what was read. */
  readonly readText?: (path: string) => string;
}

/**
 * Reads the clusters table.
 * @param options.file its path: problems name it, and relative paths in it start from its folder.
 * @throws ClustersError with every problem.
 */
export function parseClusters(text: string, options: ParseOptions): readonly Cluster[] {
  const documents = readDocuments(text);
  const [document] = documents;
  if (!document || documents.length > 1) {
    throw new ClustersError(options.file, ['must hold one document with the list clusters']);
  }
  if (document.problems.length > 0) throw new ClustersError(options.file, document.problems);
  const checked = checkDocument(tableSchema, document.value);
  if (!checked.ok) throw new ClustersError(options.file, checked.problems);
  const entries = checked.value.clusters;
  const problems = [...findTableProblems(entries), ...entries.flatMap(findEntryProblems)];
  if (problems.length > 0) throw new ClustersError(options.file, problems);
  const folder = dirname(options.file);
  const firsts = readFirstSets(entries, { folder, ...options });
  return entries.map((entry) =>
    entry.kind === 'oidc'
      ? toIssuer(entry, folder)
      : toCluster(entry, {
          isOwn: isOwn(entry, entries),
          folder,
          first: firsts.get(entry.name),
        }),
  );
}

/** The key sets that entries with pushed keys begin with, by the entry's name. @throws ClustersError */
function readFirstSets(
  entries: readonly Entry[],
  options: ParseOptions & { readonly folder: string },
): ReadonlyMap<string, string> {
  const problems: string[] = [];
  const firsts = new Map<string, string>();
  const owners = new Map<string, number>();
  entries.forEach((entry, index) => {
    const pushed = isCluster(entry) ? entry.keys?.pushed : undefined;
    if (!pushed) return;
    const at = `clusters[${index}].keys.pushed`;
    const parsed = readFirstSet(pushed, entry.algorithms, options);
    if (!parsed.ok) {
      problems.push(...parsed.problems.map(({ path, problem }) => `${at}.${path}: ${problem}`));
      return;
    }
    firsts.set(entry.name, parsed.jwks);
    const shared = parsed.keys.find(({ thumbprint }) => owners.has(thumbprint));
    const other = shared && owners.get(shared.thumbprint);
    if (other !== undefined) problems.push(`${at}: has a key of clusters[${other}] too`);
    for (const { thumbprint } of parsed.keys) owners.set(thumbprint, index);
  });
  if (problems.length > 0) throw new ClustersError(options.file, problems);
  return firsts;
}

function findTableProblems(entries: readonly Entry[]): string[] {
  const problems: string[] = [];
  const names = new Map<string, number>();
  entries.forEach((entry, index) => {
    const first = names.get(entry.name);
    if (first === undefined) names.set(entry.name, index);
    else problems.push(`clusters[${index}].name: is the name of clusters[${first}] already`);
  });
  const clusters = entries.filter(isCluster);
  const own = clusters.filter((entry) => entry.own === true).length;
  if (own > 1 || (own === 0 && clusters.length > 1)) {
    problems.push('clusters: exactly one must be marked own: true, the cluster the broker runs in');
  }
  const [only] = clusters;
  if (own === 0 && clusters.length === 1 && only?.own === false) {
    problems.push(`clusters[${entries.indexOf(only)}].own: the only cluster is the own one`);
  }
  return problems;
}

function findEntryProblems(entry: Entry, index: number, entries: readonly Entry[]): string[] {
  const at = `clusters[${index}]`;
  if (entry.kind === 'oidc')
    return [...findOidcProblems(entry, at), ...findIssuerProblems(entry, { at, entries })];
  return [
    ...findKeysProblems(entry, { at: `${at}.keys`, isOwn: isOwn(entry, entries) }),
    ...findReviewProblems(entry, { at, isOwn: isOwn(entry, entries) }),
    ...(isKeyless(entry) ? findSharingProblems(entry, at, entries) : []),
  ];
}

/** The kind of a token is told by its issuer, so an issuer has one kind. */
function findIssuerProblems(
  entry: Entry,
  { at, entries }: { at: string; entries: readonly Entry[] },
): string[] {
  const own = toIssuers(entry);
  const other = entries.findIndex(
    (one) => one !== entry && toIssuers(one).some((issuer) => own.includes(issuer)),
  );
  return other < 0
    ? []
    : [`${at}.issuer: is an issuer of clusters[${other}] too; only Kubernetes clusters share one`];
}

/** Without keys only the issuer says which API server may see a token; it must say so alone. */
function findSharingProblems(entry: Entry, at: string, entries: readonly Entry[]): string[] {
  const own = toIssuers(entry);
  const others = entries.filter((other) => other !== entry);
  return others.some((other) => toIssuers(other).some((issuer) => own.includes(issuer)))
    ? [`${at}: has an issuer of another cluster, so it needs keys to tell whose a token is`]
    : [];
}

function isCluster(entry: Entry): entry is ClusterEntry {
  return entry.kind === 'kubernetes';
}

function isKeyless({ validation, keys }: ClusterEntry): boolean {
  return validation === 'review' && keys === undefined;
}

function findKeysProblems(
  entry: ClusterEntry,
  { at, isOwn: own }: { at: string; isOwn: boolean },
): string[] {
  if (isKeyless(entry)) return [];
  if (own) return findDiscoveryProblems(entry, at);
  if (!entry.keys) return [`${at}: is required for a cluster that is not the own one`];
  const { apiServer } = entry.keys;
  if (!apiServer) return findDiscoveryProblems(entry, at);
  // The defaults are this pod's own credential: no other cluster may be sent that.
  return (['url', 'caFile', 'tokenFile'] as const)
    .filter((field) => apiServer[field] === undefined)
    .map((field) => `${at}.apiServer.${field}: is required for a cluster that is not the own one`);
}

function findDiscoveryProblems(entry: ClusterEntry, at: string): string[] {
  const discovery = entry.keys?.discovery;
  if (!discovery || discovery.url !== undefined || isKeyUrl(toIssuers(entry)[0] ?? '')) return [];
  return [`${at}.discovery.url: is required, because the first issuer is not an https URL`];
}

function isOwn(entry: ClusterEntry, entries: readonly Entry[]): boolean {
  return entry.own === true || entries.filter(isCluster).length === 1;
}

function toIssuers(entry: Entry): readonly string[] {
  if (entry.kind === 'oidc') return [entry.issuer];
  return entry.issuers ?? (entry.issuer === undefined ? [] : [entry.issuer]);
}

function toIssuer(entry: Extract<Entry, { kind: 'oidc' }>, folder: string): OidcIssuer {
  const keys = toOidcKeys(entry, (path) => resolve(folder, path));
  return Object.freeze({
    name: entry.name,
    kind: entry.kind,
    own: false,
    issuers: toIssuers(entry),
    validation: 'offline',
    keys,
    algorithms: entry.algorithms,
    maxTokenAgeSeconds: entry.maxTokenAgeSeconds,
    ...toPace(entry, keys),
  });
}

function toCluster(
  entry: ClusterEntry,
  { isOwn: own, folder, first }: { isOwn: boolean; folder: string; first: string | undefined },
): KubernetesCluster {
  const issuers = toIssuers(entry);
  const keys = isKeyless(entry)
    ? undefined
    : toKeysFrom(entry.keys, { issuer: issuers[0] ?? '', folder, first });
  const review = findReviewSettings(entry, { folder });
  return Object.freeze({
    name: entry.name,
    kind: entry.kind,
    own,
    issuers,
    validation: entry.validation,
    ...(keys && { keys }),
    ...(review && { review: Object.freeze(review) }),
    ...(entry.controller && { controller: entry.controller }),
    algorithms: entry.algorithms,
    ...toPace(entry, keys),
  });
}

function toPace(
  entry: Entry,
  keys: KeysFrom | undefined,
): Pick<AnyEntry, 'refreshSeconds' | 'maxStalenessSeconds' | 'cooldownSeconds'> {
  const pace = keys?.from === 'file' ? 'file' : 'network';
  return {
    refreshSeconds: entry.refreshSeconds ?? REFRESH_SECONDS[pace],
    maxStalenessSeconds: entry.maxStalenessSeconds,
    cooldownSeconds: entry.cooldownSeconds ?? COOLDOWN_SECONDS[pace],
  };
}

function toKeysFrom(
  keys: ClusterEntry['keys'],
  from: { issuer: string; folder: string; first: string | undefined },
): KeysFrom {
  if (from.first !== undefined) return { from: 'pushed', first: from.first };
  const at = (path: string) => resolve(from.folder, path);
  const ca = (path: string | undefined) => (path === undefined ? {} : { caFile: at(path) });
  if (keys?.url !== undefined) return { from: 'url', url: keys.url, ...ca(keys.caFile) };
  if (keys?.file !== undefined) return { from: 'file', file: at(keys.file) };
  if (keys?.discovery) return toDiscovery(keys.discovery, { issuer: from.issuer, at });
  const { url, caFile, tokenFile } = keys?.apiServer ?? {};
  return {
    from: 'apiServer',
    url: url ?? IN_CLUSTER_API_SERVER.url,
    caFile: at(caFile ?? IN_CLUSTER_API_SERVER.caFile),
    tokenFile: at(tokenFile ?? IN_CLUSTER_API_SERVER.tokenFile),
  };
}
