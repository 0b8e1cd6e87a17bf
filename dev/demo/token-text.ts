// Tokens for the eye: the middle left out, so that what is on the screen is no credential, and the parts decoded.

export interface DecodedToken {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** The ends of a token. Enough to see that it is one, too little to use it. */
export function abbreviate(token: string): string {
  return `${token.slice(0, 24)}…${token.slice(-8)} (${token.length} characters; the middle is left out here)`;
}

/**
 * Decodes a compact JWS without verifying it.
 * @throws Error for anything else.
 */
export function decodeToken(token: string): DecodedToken {
  const [header, claims, signature] = token.split('.');
  if (!header || !claims || !signature) throw new Error('the token is not a signed JWT');
  return { header: decode(header), claims: decode(claims) };
}

function decode(segment: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(segment, 'base64url').toString('utf8')) as Record<string, unknown>;
}

/** The claims as JSON; times are followed by what they mean. */
export function renderClaims(claims: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(claims, null, 2)
    .split('\n')
    .map((line) => {
      const match = /^ {2}"(iat|nbf|exp)": (\d+)/.exec(line);
      return match
        ? `${line.padEnd(26)} # ${new Date(Number(match[2]) * 1000).toISOString()}`
        : line;
    })
    .join('\n');
}
