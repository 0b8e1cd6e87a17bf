// An entry of kind `oidc`: an issuer outside Kubernetes, such as a CI system or a company's identity provider. Its part of
// the table alone; clusters.ts reads the whole.
import { z } from 'zod';
import { isKeyUrl } from './address.ts';
import { file, webUrl } from './cluster-review.ts';
import type { KeysFrom } from './clusters.ts';
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './keys.ts';

// RS256 is what every provider must support (OpenID Connect Discovery §3).
const DEFAULT_ALGORITHMS: readonly SigningAlgorithm[] = ['RS256', 'ES256'];
const DEFAULT_MAX_TOKEN_AGE_SECONDS = 24 * 3600;

export const jwksHost = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:\d{1,5})?$/, {
  error: 'must be a host name in lower case, or host:port',
});

export const discoverySchema = z.strictObject({
  url: webUrl.optional(),
  jwksUri: webUrl.optional(),
  jwksHosts: z.array(jwksHost).max(8).optional(),
  caFile: file.optional(),
});

const oidcKeysSchema = z
  .strictObject({
    discovery: discoverySchema.optional(),
    url: webUrl.optional(),
    caFile: file.optional(),
    file: file.optional(),
  })
  .superRefine((keys, context) => {
    const ways = ['discovery', 'url', 'file'] as const;
    if (ways.filter((way) => keys[way] !== undefined).length !== 1) {
      context.addIssue({ code: 'custom', message: `must have exactly one of ${ways.join(', ')}` });
    }
    if (keys.caFile !== undefined && keys.url === undefined) {
      context.addIssue({ code: 'custom', path: ['caFile'], message: 'goes with url only' });
    }
  });

/** Fields of an `oidc` entry beside those of every entry. */
export const oidcFields = {
  kind: z.literal('oidc'),
  issuer: z.string().min(1).max(512),
  keys: oidcKeysSchema.optional(),
  algorithms: z
    .array(z.enum(SIGNING_ALGORITHMS))
    .min(1)
    .default([...DEFAULT_ALGORITHMS]),
  maxTokenAgeSeconds: z
    .int()
    .min(60)
    .max(30 * 24 * 3600)
    .default(DEFAULT_MAX_TOKEN_AGE_SECONDS),
};

export interface OidcEntry {
  readonly issuer: string;
  readonly keys?: z.infer<typeof oidcKeysSchema> | undefined;
}

/** @param at where the entry stands, as `clusters[0]` */
export function findOidcProblems({ issuer, keys }: OidcEntry, at: string): string[] {
  const isDiscovered = keys === undefined || (keys.discovery && keys.discovery.url === undefined);
  if (!isDiscovered || isKeyUrl(issuer)) return [];
  return [
    `${at}.keys: is required with another address than the issuer's, because the issuer is not an https URL`,
  ];
}

/** @param at turns a path of the table into an absolute one */
export function toOidcKeys({ issuer, keys }: OidcEntry, at: (path: string) => string): KeysFrom {
  if (keys?.file !== undefined) return { from: 'file', file: at(keys.file) };
  if (keys?.url !== undefined) {
    return { from: 'url', url: keys.url, ...(keys.caFile && { caFile: at(keys.caFile) }) };
  }
  return toDiscovery(keys?.discovery ?? {}, { issuer, at });
}

/** Keys by discovery, below the issuer unless another address is written. */
export function toDiscovery(
  { url, jwksUri, jwksHosts, caFile }: z.infer<typeof discoverySchema>,
  { issuer, at }: { issuer: string; at: (path: string) => string },
): Extract<KeysFrom, { from: 'discovery' }> {
  return {
    from: 'discovery',
    url: url ?? issuer,
    ...(jwksUri !== undefined && { jwksUri }),
    ...(jwksHosts !== undefined && { jwksHosts }),
    ...(caFile !== undefined && { caFile: at(caFile) }),
  };
}
