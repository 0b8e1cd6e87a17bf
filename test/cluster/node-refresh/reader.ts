// A program for the app's container that reads its token as fast as it can and counts what it should never find. It runs
// in the image of the product, the one with Node, and reports by its log.
import type { NodeFacts } from '../harness/cluster.ts';
import { RESTRICTED } from '../harness/node/app.ts';

export interface Report {
  readonly reads: number;
  /** Different tokens, the first included. */
  readonly generations: number;
  /** Not three whole segments with an `exp`. */
  readonly half: number;
  /** token.json of the same generation holds another token. */
  readonly mismatched: number;
  readonly expired: number;
  /** The file or its folder was not there. */
  readonly missing: number;
}

// As docs/exchange.md tells apps: the token by its path, anew each time; both files of one generation by resolving ..data.
const SCRIPT = `
const { readFileSync, realpathSync } = require('node:fs');
const { dirname } = require('node:path');
const file = process.env.AUTH_TOKEN_FILE;
const found = { reads: 0, generations: 0, half: 0, mismatched: 0, expired: 0, missing: 0 };
let last = '', reported = 0;
const toExpiry = (token) => {
  try {
    const [, payload] = /^[\\w-]+\\.([\\w-]+)\\.[\\w-]+$/.exec(token);
    return JSON.parse(Buffer.from(payload, 'base64url')).exp;
  } catch { return undefined; }
};
const readBoth = () => {
  for (;;) {
    const folder = realpathSync(dirname(file) + '/..data');
    try {
      return [readFileSync(folder + '/token', 'utf8'), readFileSync(folder + '/token.json', 'utf8')];
    } catch (error) {
      if (error.code !== 'ENOENT' || realpathSync(dirname(file) + '/..data') === folder) throw error;
    }
  }
};
const look = () => {
  const token = readFileSync(file, 'utf8');
  const expiry = toExpiry(token);
  if (expiry === undefined) found.half += 1;
  else if (expiry * 1000 < Date.now()) found.expired += 1;
  if (token !== last) { last = token; found.generations += 1; }
  const [one, json] = readBoth();
  let other;
  try { other = JSON.parse(json).access_token; } catch {}
  if (one !== other) found.mismatched += 1;
};
for (;;) {
  found.reads += 1;
  try { look(); } catch { found.missing += 1; }
  if (Date.now() - reported > 1000) { reported = Date.now(); console.log(JSON.stringify(found)); }
}
`;

/** The container `app`; `rest` is put over it. */
export function toReader(node: NodeFacts, rest: object = {}): object {
  return {
    name: 'app',
    image: node.images.coatcheck,
    imagePullPolicy: 'Never',
    command: ['/usr/bin/node', '-e', SCRIPT],
    securityContext: RESTRICTED,
    // Else it would take a core from the cluster it runs on.
    resources: { limits: { cpu: '300m' } },
    ...rest,
  };
}

/** The newest line of its log; undefined before the first. */
export function findReport(log: string): Report | undefined {
  const line = log.trimEnd().split('\n').at(-1);
  return line?.startsWith('{') ? (JSON.parse(line) as Report) : undefined;
}
