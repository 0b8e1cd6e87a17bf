// An entry of the clusters table as the API takes it. It comes from somebody who may not read the broker's disk, use its
// credentials, or look around in its network, so it names no file, no API server to ask, and no private address.
import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { checkValue, type Problem } from '../../common/documents.ts';
import { isRegisteredUrl } from './address.ts';
import type { ParsedEntry } from './cluster-table.ts';
import {
  type Cluster,
  COOLDOWN_SECONDS,
  controllerSchema,
  DEFAULT_ALGORITHMS,
  DEFAULT_MAX_STALENESS_SECONDS,
  issuer,
  type KeysFrom,
  REFRESH_SECONDS,
  seconds,
} from './clusters.ts';
import { parseKeySet } from './key-set.ts';
import { SIGNING_ALGORITHMS } from './keys.ts';
import { jwksHost, oidcFields } from './oidc-issuer.ts';

export interface RegisteredRules {
  /** Whether keys may be asked at addresses of private networks, and over http on loopback. */
  readonly allowsPrivate: boolean;
}

export const CLUSTER_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

const MAX_CA_LENGTH = 64 * 1024;
const FILE_ONLY =
  'is for entries of the clusters file alone: one of the API names no file of the broker, and is sent none of its credentials';
const fileOnly = z.undefined({ error: FILE_ONLY }).optional();

const ca = z
  .string()
  .max(MAX_CA_LENGTH)
  .refine(isCertificates, { error: 'must be certificates in PEM, and nothing else' });

const url = z.string().max(2048);
const discoverySchema = z.strictObject({
  url: url.optional(),
  jwksUri: url.optional(),
  jwksHosts: z.array(jwksHost).max(8).optional(),
  ca: ca.optional(),
  caFile: fileOnly,
});
const fetchedFields = {
  url: url.optional(),
  ca: ca.optional(),
  discovery: discoverySchema.optional(),
  caFile: fileOnly,
  file: fileOnly,
  apiServer: fileOnly,
};
const keysSchema = z
  .strictObject({
    ...fetchedFields,
    pushed: z.strictObject({ jwks: z.looseObject({}), file: fileOnly }).optional(),
  })
  .superRefine(checkWays);
const oidcKeysSchema = z.strictObject(fetchedFields).superRefine(checkWays);

// What somebody else chose is not asked more often than this.
const pace = {
  refreshSeconds: seconds(60, 86_400).optional(),
  maxStalenessSeconds: seconds(1, 30 * 86_400).default(DEFAULT_MAX_STALENESS_SECONDS),
  cooldownSeconds: seconds(10, 3600).optional(),
};
const algorithms = z.array(z.enum(SIGNING_ALGORITHMS)).min(1).max(SIGNING_ALGORITHMS.length);

const kubernetesSchema = z
  .strictObject({
    kind: z.literal('kubernetes'),
    issuer: issuer.optional(),
    issuers: z.array(issuer).min(1).max(8).optional(),
    validation: z
      .literal('offline', {
        error: 'must be offline: a TokenReview needs a credential, and the API keeps none',
      })
      .optional(),
    review: fileOnly,
    own: z
      .literal(false, { error: 'must be false: the own cluster stands in the clusters file' })
      .optional(),
    controller: controllerSchema.optional(),
    keys: keysSchema,
    algorithms: algorithms.default([...DEFAULT_ALGORITHMS]),
    ...pace,
  })
  .superRefine((entry, context) => {
    if ((entry.issuer === undefined) === (entry.issuers === undefined))
      context.addIssue({ code: 'custom', message: 'must have either issuer or issuers' });
    if (entry.keys.pushed && !entry.controller)
      context.addIssue({
        code: 'custom',
        path: ['controller'],
        message: 'is required with keys.pushed: it is who pushes them',
      });
  });

const oidcSchema = z.strictObject({
  kind: oidcFields.kind,
  issuer,
  keys: oidcKeysSchema.optional(),
  algorithms: oidcFields.algorithms,
  maxTokenAgeSeconds: oidcFields.maxTokenAgeSeconds,
  ...pace,
});

const schema = z.discriminatedUnion('kind', [kubernetesSchema, oidcSchema], {
  error: ({ code }) => (code === 'invalid_union' ? 'must be one of kubernetes, oidc' : undefined),
});
type Entry = z.infer<typeof schema>;
type Keys = NonNullable<Entry['keys']>;

/** Reads an entry without its name. Problems quote no value. */
export function parseRegisteredEntry(
  document: unknown,
  { name, allowsPrivate }: RegisteredRules & { readonly name: string },
): ParsedEntry {
  if (!CLUSTER_NAME.test(name))
    return refuse([{ path: 'name', problem: 'must be a DNS label of at most 63 characters' }]);
  const checked = checkValue(schema, document);
  if (!checked.ok) return refuse(checked.problems);
  const entry = checked.value;
  const issuers = entry.kind === 'oidc' ? [entry.issuer] : (entry.issuers ?? [entry.issuer ?? '']);
  const problems = findAddressProblems(entry, { allowsPrivate, issuer: issuers[0] ?? '' });
  if (problems.length > 0) return refuse(problems);
  const read = readKeys(entry, { allowsPrivate, issuer: issuers[0] ?? '' });
  if (!read.ok) return refuse(read.problems);
  const shared = {
    name,
    isRegistered: true,
    own: false,
    issuers,
    validation: 'offline',
    keys: read.keys,
    algorithms: entry.algorithms,
    refreshSeconds: entry.refreshSeconds ?? REFRESH_SECONDS.network,
    maxStalenessSeconds: entry.maxStalenessSeconds,
    cooldownSeconds: entry.cooldownSeconds ?? COOLDOWN_SECONDS.network,
  } as const;
  const cluster: Cluster =
    entry.kind === 'oidc'
      ? { ...shared, kind: 'oidc', maxTokenAgeSeconds: entry.maxTokenAgeSeconds }
      : {
          ...shared,
          kind: 'kubernetes',
          ...(entry.controller && { controller: entry.controller }),
        };
  return { ok: true, cluster: Object.freeze(cluster) };
}

function refuse(problems: readonly Problem[]): { ok: false; problems: readonly Problem[] } {
  return { ok: false, problems };
}

interface AddressRules extends RegisteredRules {
  readonly issuer: string;
}

function findAddressProblems(
  { keys }: Entry,
  { allowsPrivate, issuer: first }: AddressRules,
): readonly Problem[] {
  const asked: readonly (readonly [string, string | undefined])[] = [
    ['keys.url', keys?.url],
    ['keys.discovery.url', keys?.discovery?.url],
    ['keys.discovery.jwksUri', keys?.discovery?.jwksUri],
    ['issuer', isFoundByIssuer(keys) ? first : undefined],
  ];
  return asked.flatMap(([path, address]) =>
    address === undefined || isRegisteredUrl(address, { allowsPrivate })
      ? []
      : [{ path, problem: ADDRESS_RULE }],
  );
}

const ADDRESS_RULE =
  'must lead to keys by an https URL of the public internet, without user, password, query and fragment (the operator can allow private addresses: allowPrivateClusterAddresses)';

function isFoundByIssuer(keys: Keys | undefined): boolean {
  return keys === undefined || (keys.discovery !== undefined && keys.discovery.url === undefined);
}

function readKeys(
  { keys, algorithms: allowed }: Entry,
  { allowsPrivate, issuer: first }: AddressRules,
): { ok: true; keys: KeysFrom } | { ok: false; problems: readonly Problem[] } {
  const publicOnly = !allowsPrivate;
  if (keys && 'pushed' in keys && keys.pushed) {
    const parsed = parseKeySet(keys.pushed.jwks, allowed);
    if (parsed.ok) return { ok: true, keys: { from: 'pushed', first: parsed.jwks } };
    const problems = parsed.problems.map(({ path, problem }) => ({
      path: `keys.pushed.jwks.${path}`,
      problem,
    }));
    return { ok: false, problems };
  }
  if (keys?.url !== undefined) {
    const trust = { publicOnly, ...(keys.ca !== undefined && { ca: keys.ca }) };
    return { ok: true, keys: { from: 'url', url: keys.url, ...trust } };
  }
  const { url: base, jwksUri, jwksHosts, ca: roots } = keys?.discovery ?? {};
  return {
    ok: true,
    keys: {
      from: 'discovery',
      url: base ?? first,
      publicOnly,
      ...(jwksUri !== undefined && { jwksUri }),
      ...(jwksHosts !== undefined && { jwksHosts }),
      ...(roots !== undefined && { ca: roots }),
    },
  };
}

function checkWays(keys: object, context: z.core.$RefinementCtx): void {
  const ways = ['url', 'discovery', 'pushed'].filter(
    (way) => (keys as Record<string, unknown>)[way] !== undefined,
  );
  if (ways.length !== 1)
    context.addIssue({
      code: 'custom',
      message: 'must have exactly one of url, discovery, and (for clusters) pushed',
    });
  const { ca: roots, url: base } = keys as { ca?: unknown; url?: unknown };
  if (roots !== undefined && base === undefined)
    context.addIssue({ code: 'custom', path: ['ca'], message: 'goes with url only' });
}

function isCertificates(text: string): boolean {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const rest = text.replace(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g, '');
  return found.length > 0 && rest.trim() === '' && found.every(isCertificate);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).serialNumber !== '';
  } catch {
    return false;
  }
}
