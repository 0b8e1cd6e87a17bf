// The table of clusters the broker believes: which `iss`, which keys, which algorithms. Nothing outside it is ever
// fetched. This file reads and checks the table; jwks.ts gets the keys, verify.ts uses them, cluster-review.ts has what
// is about TokenReview.
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
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './keys.ts';

/** Where a cluster's public keys come from. URLs are https, or http on loopback; paths are absolute. */
export type KeysFrom =
  | { readonly from: 'url'; readonly url: string; readonly caFile?: string }
  | {
      /** `/openid/v1/jwks` of an API server, asked with the broker's credential for it. */
      readonly from: 'apiServer';
      readonly url: string;
      readonly caFile: string;
      readonly tokenFile: string;
    }
  | {
      /** OpenID discovery below `url`; `jwksUri` replaces the address found there (EKS names an unreachable one). */
      readonly from: 'discovery';
      readonly url: string;
      readonly jwksUri?: string;
      readonly caFile?: string;
    }
  | { readonly from: 'file'; readonly file: string };

export interface Cluster {
  readonly name: string;
  readonly kind: 'kubernetes';
  /** The broker's own cluster: what a role's subject means that names none. Exactly one is. */
  readonly own: boolean;
  /** Exact values of `iss`; more than one while a cluster moves to another. */
  readonly issuers: readonly string[];
  readonly validation: ValidationMode;
  /** Absent for `review` without keys: then nothing of a token can be checked before the API server was asked. */
  readonly keys?: KeysFrom;
  /** Absent for `offline`. */
  readonly review?: ReviewSettings;
  readonly algorithms: readonly SigningAlgorithm[];
  /** How often the keys are fetched anew. */
  readonly refreshSeconds: number;
  /** How long keys serve after their last good fetch. */
  readonly maxStalenessSeconds: number;
  /** Least time between two fetches, whatever tokens ask for. */
  readonly cooldownSeconds: number;
}

export type ClusterWithKeySource = Cluster & { readonly keys: KeysFrom };

export function hasKeySource(cluster: Cluster): cluster is ClusterWithKeySource {
  return cluster.keys !== undefined;
}

// What kube-apiserver can sign with (its --service-account-signing-key-file takes RSA and ECDSA keys).
const DEFAULT_ALGORITHMS: readonly SigningAlgorithm[] = ['RS256', 'ES256', 'ES384', 'ES512'];
const DEFAULT_MAX_STALENESS_SECONDS = 24 * 3600;
const REFRESH_SECONDS = { network: 300, file: 5 } as const;
const COOLDOWN_SECONDS = { network: 10, file: 1 } as const;

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
    discovery: z
      .strictObject({ url: webUrl.optional(), jwksUri: webUrl.optional(), caFile: file.optional() })
      .optional(),
    file: file.optional(),
  })
  .superRefine((keys, context) => {
    const ways = ['url', 'apiServer', 'discovery', 'file'] as const;
    if (ways.filter((way) => keys[way] !== undefined).length !== 1) {
      context.addIssue({ code: 'custom', message: `must have exactly one of ${ways.join(', ')}` });
    }
    if (keys.caFile !== undefined && keys.url === undefined) {
      context.addIssue({ code: 'custom', path: ['caFile'], message: 'goes with url only' });
    }
  });

const issuer = z.string().min(1).max(512);
const seconds = (min: number, max: number) => z.int().min(min).max(max);

const entrySchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, {
      error: 'must be a DNS label: lower-case letters, digits and dashes, at most 63',
    }),
    kind: z.literal('kubernetes'),
    own: z.boolean().optional(),
    issuer: issuer.optional(),
    issuers: z.array(issuer).min(1).max(8).optional(),
    ...reviewFields,
    keys: keysSchema.optional(),
    algorithms: z
      .array(z.enum(SIGNING_ALGORITHMS))
      .min(1)
      .default([...DEFAULT_ALGORITHMS]),
    refreshSeconds: seconds(1, 86_400).optional(),
    maxStalenessSeconds: seconds(1, 30 * 86_400).default(DEFAULT_MAX_STALENESS_SECONDS),
    cooldownSeconds: seconds(1, 3600).optional(),
  })
  .superRefine((entry, context) => {
    if ((entry.issuer === undefined) === (entry.issuers === undefined)) {
      context.addIssue({ code: 'custom', message: 'must have either issuer or issuers' });
    }
  });

const tableSchema = z.strictObject({ clusters: z.array(entrySchema).min(1) });
type Entry = z.infer<typeof entrySchema>;

/**
 * Reads the clusters table.
 * @param options.file its path: problems name it, and relative paths in it start from its folder.
 * @throws ClustersError with every problem.
 */
export function parseClusters(text: string, options: { file: string }): readonly Cluster[] {
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
  return entries.map((entry) => toCluster(entry, { isOwn: isOwn(entry, entries), folder }));
}

function findTableProblems(entries: readonly Entry[]): string[] {
  const problems: string[] = [];
  const names = new Map<string, number>();
  entries.forEach((entry, index) => {
    const first = names.get(entry.name);
    if (first === undefined) names.set(entry.name, index);
    else problems.push(`clusters[${index}].name: is the name of clusters[${first}] already`);
  });
  const own = entries.filter((entry) => entry.own === true).length;
  if (own > 1 || (own === 0 && entries.length > 1)) {
    problems.push('clusters: exactly one must be marked own: true, the cluster the broker runs in');
  }
  if (own === 0 && entries.length === 1 && entries[0]?.own === false) {
    problems.push('clusters[0].own: the only cluster is the own one');
  }
  return problems;
}

function findEntryProblems(entry: Entry, index: number, entries: readonly Entry[]): string[] {
  const at = `clusters[${index}]`;
  return [
    ...findKeysProblems(entry, { at: `${at}.keys`, isOwn: isOwn(entry, entries) }),
    ...findReviewProblems(entry, { at, isOwn: isOwn(entry, entries) }),
    ...(isKeyless(entry) ? findSharingProblems(entry, at, entries) : []),
  ];
}

/** Without keys only the issuer says which API server may see a token; it must say so alone. */
function findSharingProblems(entry: Entry, at: string, entries: readonly Entry[]): string[] {
  const own = toIssuers(entry);
  const others = entries.filter((other) => other !== entry);
  return others.some((other) => toIssuers(other).some((issuer) => own.includes(issuer)))
    ? [`${at}: has an issuer of another cluster, so it needs keys to tell whose a token is`]
    : [];
}

function isKeyless({ validation, keys }: Entry): boolean {
  return validation === 'review' && keys === undefined;
}

function findKeysProblems(
  entry: Entry,
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

function findDiscoveryProblems(entry: Entry, at: string): string[] {
  const discovery = entry.keys?.discovery;
  if (!discovery || discovery.url !== undefined || isKeyUrl(toIssuers(entry)[0] ?? '')) return [];
  return [`${at}.discovery.url: is required, because the first issuer is not an https URL`];
}

function isOwn(entry: Entry, entries: readonly Entry[]): boolean {
  return entry.own === true || entries.length === 1;
}

function toIssuers(entry: Entry): readonly string[] {
  return entry.issuers ?? (entry.issuer === undefined ? [] : [entry.issuer]);
}

function toCluster(
  entry: Entry,
  { isOwn: own, folder }: { isOwn: boolean; folder: string },
): Cluster {
  const issuers = toIssuers(entry);
  const keys = isKeyless(entry)
    ? undefined
    : toKeysFrom(entry.keys, { issuer: issuers[0] ?? '', folder });
  const review = findReviewSettings(entry, { folder });
  const pace = keys?.from === 'file' ? 'file' : 'network';
  return Object.freeze({
    name: entry.name,
    kind: entry.kind,
    own,
    issuers,
    validation: entry.validation,
    ...(keys && { keys }),
    ...(review && { review: Object.freeze(review) }),
    algorithms: entry.algorithms,
    refreshSeconds: entry.refreshSeconds ?? REFRESH_SECONDS[pace],
    maxStalenessSeconds: entry.maxStalenessSeconds,
    cooldownSeconds: entry.cooldownSeconds ?? COOLDOWN_SECONDS[pace],
  });
}

function toKeysFrom(keys: Entry['keys'], from: { issuer: string; folder: string }): KeysFrom {
  const at = (path: string) => resolve(from.folder, path);
  const ca = (path: string | undefined) => (path === undefined ? {} : { caFile: at(path) });
  if (keys?.url !== undefined) return { from: 'url', url: keys.url, ...ca(keys.caFile) };
  if (keys?.file !== undefined) return { from: 'file', file: at(keys.file) };
  if (keys?.discovery) {
    const { url, jwksUri, caFile } = keys.discovery;
    return {
      from: 'discovery',
      url: url ?? from.issuer,
      ...(jwksUri === undefined ? {} : { jwksUri }),
      ...ca(caFile),
    };
  }
  const { url, caFile, tokenFile } = keys?.apiServer ?? {};
  return {
    from: 'apiServer',
    url: url ?? IN_CLUSTER_API_SERVER.url,
    caFile: at(caFile ?? IN_CLUSTER_API_SERVER.caFile),
    tokenFile: at(tokenFile ?? IN_CLUSTER_API_SERVER.tokenFile),
  };
}
