// Which texts are audiences, and which audiences nobody may ask for: one rule for the webhook (annotations) and the
// broker (roles), so that neither can be talked into what the other refuses.

export const MAX_AUDIENCES = 8;
const MAX_AUDIENCE_LENGTH = 255;

/** What {@link isAudience} allows, as a sentence's end: "must be …". */
export const AUDIENCE_RULE = `1 to ${MAX_AUDIENCE_LENGTH} printable ASCII characters without space, comma, quote or backslash`;

// 0x21–0x7e but `"` (22), `'` (27), `,` (2c), `\` (5c): no blank or control character, nothing that ends a word
// in a list, a shell or JSON.
export const AUDIENCE = /^[\x21\x23-\x26\x28-\x2b\x2d-\x5b\x5d-\x7e]{1,255}$/;

/** The broker's own audience: a ServiceAccount token for it speaks for a process of ours, never for a pod's app. */
export const CONTROL_AUDIENCES = ['coatcheck-control'] as const;

/**
 * Audiences that are refused everywhere, operators may add more. Whoever holds a ServiceAccount token with one of these
 * is the pod's ServiceAccount to the API server, or its cloud role: no annotation may bring such a token into being.
 */
export const RESERVED_AUDIENCES: readonly string[] = [
  'https://kubernetes.default.svc',
  'https://kubernetes.default.svc.cluster.local',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  'https://kubernetes.default',
  'kubernetes',
  'api',
  'sts.amazonaws.com',
  'pods.eks.amazonaws.com',
  'sts.googleapis.com',
  'api://AzureADTokenExchange',
  ...CONTROL_AUDIENCES,
];

const COMPARABLE_RESERVED: ReadonlySet<string> = new Set(RESERVED_AUDIENCES.map(toComparable));

/** Whether a text may be an audience at all; see {@link AUDIENCE_RULE}. */
export function isAudience(text: string): boolean {
  return AUDIENCE.test(text);
}

/**
 * Whether `audience` is reserved, by the preset or by the operator's `more`. A trailing slash and the case of letters do
 * not make another audience of it: some receivers compare as URLs do.
 */
export function isReservedAudience(audience: string, more: readonly string[] = []): boolean {
  const plain = toComparable(audience);
  return COMPARABLE_RESERVED.has(plain) || more.some((one) => toComparable(one) === plain);
}

function toComparable(audience: string): string {
  return audience.toLowerCase().replace(/\/+$/, '');
}
