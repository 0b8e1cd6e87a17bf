// The part of a clusters entry that is about TokenReview: which API server is asked, how often at once, and what happens
// when it does not answer. clusters.ts reads the rest of the entry.
import { resolve } from 'node:path';
import { z } from 'zod';
import { isKeyUrl } from './address.ts';

export const VALIDATIONS = ['offline', 'review', 'hybrid'] as const;
export type ValidationMode = (typeof VALIDATIONS)[number];

export interface ReviewSettings {
  /** The API server that is asked; never another cluster's. */
  readonly url: string;
  readonly caFile: string;
  /** The broker's credential there. */
  readonly tokenFile: string;
  /** `recent`: pods reviewed in the last 15 minutes pass on the local checks; `hybrid` only. */
  readonly onUnavailable: 'deny' | 'recent';
  readonly maxConcurrent: number;
  /** How long a review may wait for its turn; 0: not at all. */
  readonly queueSeconds: number;
  /** How long a good answer serves again; 0: never. */
  readonly positiveCacheSeconds: number;
}

/** Where this process's own API server is, for whoever runs in a pod. */
export const IN_CLUSTER_API_SERVER = {
  url: 'https://kubernetes.default.svc',
  caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
  tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
} as const;

// A thousand pods at once, 32 in flight and 200 ms each are 6.3 s; with the 2 s that are left for a review (reviewer.ts)
// this stays below the 10 s after which an exchange gives a try up.
const QUEUE_SECONDS = 7;
// At 20 ms a review, which is slow, 1,600 a second.
const MAX_CONCURRENT = 32;
const POSITIVE_CACHE_SECONDS = 30;
export const MAX_POSITIVE_CACHE_SECONDS = 60;

export const webUrl = z.string().refine(isKeyUrl, {
  error: 'must be an https URL (http on loopback only) without user, password, query and fragment',
});
export const file = z
  .string()
  .min(1)
  .refine((text) => !text.includes('\0'), { error: 'must be a path' });

/** `keys.apiServer` and `review`: an API server and our credential for it. */
export const apiServerSchema = z.strictObject({
  url: webUrl.optional(),
  caFile: file.optional(),
  tokenFile: file.optional(),
});
type ApiServer = z.infer<typeof apiServerSchema>;

/** Fields of an entry. */
export const reviewFields = {
  validation: z.enum(VALIDATIONS).default('offline'),
  review: apiServerSchema.optional(),
  onReviewUnavailable: z.enum(['deny', 'recent']).optional(),
  maxConcurrentReviews: z.int().min(1).max(1000).optional(),
  reviewQueueSeconds: z.int().min(0).max(60).optional(),
  positiveCacheSeconds: z.int().min(0).max(MAX_POSITIVE_CACHE_SECONDS).optional(),
};

/** The fields of an entry that decide about reviews. */
export interface ReviewEntry {
  readonly validation: ValidationMode;
  readonly review?: ApiServer | undefined;
  readonly onReviewUnavailable?: 'deny' | 'recent' | undefined;
  readonly maxConcurrentReviews?: number | undefined;
  readonly reviewQueueSeconds?: number | undefined;
  readonly positiveCacheSeconds?: number | undefined;
  readonly keys?: { readonly apiServer?: ApiServer | undefined } | undefined;
}

const REVIEW_FIELDS = [
  'review',
  'onReviewUnavailable',
  'maxConcurrentReviews',
  'reviewQueueSeconds',
  'positiveCacheSeconds',
] as const;

/** @param at where the entry stands, as `clusters[0]` */
export function findReviewProblems(
  entry: ReviewEntry,
  { at, isOwn }: { at: string; isOwn: boolean },
): string[] {
  if (entry.validation === 'offline') {
    return REVIEW_FIELDS.filter((field) => entry[field] !== undefined).map(
      (field) => `${at}.${field}: goes with validation review or hybrid only`,
    );
  }
  const problems: string[] = [];
  if (entry.validation === 'review' && entry.onReviewUnavailable === 'recent') {
    problems.push(`${at}.onReviewUnavailable: recent goes with validation hybrid only`);
  }
  if (isOwn) return problems;
  // The defaults are this pod's own credential: no other cluster may be sent that.
  const given = { ...entry.keys?.apiServer, ...withoutUndefined(entry.review) };
  return [
    ...problems,
    ...(['url', 'caFile', 'tokenFile'] as const)
      .filter((field) => given[field] === undefined)
      .map((field) => `${at}.review.${field}: is required for a cluster that is not the own one`),
  ];
}

/** Undefined for `offline`. What is not written is as in `keys.apiServer`, and then as for any pod. */
export function findReviewSettings(
  entry: ReviewEntry,
  { folder }: { folder: string },
): ReviewSettings | undefined {
  if (entry.validation === 'offline') return undefined;
  const given: Required<ApiServer> = {
    ...IN_CLUSTER_API_SERVER,
    ...withoutUndefined(entry.keys?.apiServer),
    ...withoutUndefined(entry.review),
  };
  return {
    url: given.url ?? IN_CLUSTER_API_SERVER.url,
    caFile: resolve(folder, given.caFile ?? IN_CLUSTER_API_SERVER.caFile),
    tokenFile: resolve(folder, given.tokenFile ?? IN_CLUSTER_API_SERVER.tokenFile),
    onUnavailable: entry.onReviewUnavailable ?? 'deny',
    maxConcurrent: entry.maxConcurrentReviews ?? MAX_CONCURRENT,
    queueSeconds: entry.reviewQueueSeconds ?? QUEUE_SECONDS,
    positiveCacheSeconds: entry.positiveCacheSeconds ?? POSITIVE_CACHE_SECONDS,
  };
}

function withoutUndefined(server: ApiServer | undefined): ApiServer {
  return Object.fromEntries(
    Object.entries(server ?? {}).filter(([, value]) => value !== undefined),
  );
}
