// Mints ServiceAccount tokens for the exchange line: RS256, shaped and sized as kube-apiserver's, every one different.
// A process of its own, because one signature is 0.6 ms and thousands are needed.
// node bench/load/mint.ts <private key, PEM file> <issuer> <kid> <first number> <count>: one form body a line.
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GRANT_TOKEN_EXCHANGE, TOKEN_TYPE_JWT } from '../../common/protocol/oauth.ts';

const [, , keyFile = '', issuer = '', kid = '', first = '0', count = '0'] = process.argv;
const key = createPrivateKey(readFileSync(keyFile));
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = encode({ alg: 'RS256', kid });
const iat = Math.floor(Date.now() / 1000);
const serviceAccountUid = randomUUID();
const nodeUid = randomUUID();

function mint(number: number): string {
  const claims = {
    aud: ['payments'],
    exp: iat + 3600,
    iat,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: 'shop',
      node: { name: 'bench-node', uid: nodeUid },
      pod: { name: `checkout-${number}`, uid: randomUUID() },
      serviceaccount: { name: 'checkout', uid: serviceAccountUid },
    },
    nbf: iat,
    sub: 'system:serviceaccount:shop:checkout',
  };
  const input = `${header}.${encode(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
}

const lines: string[] = [];
for (let number = Number(first); number < Number(first) + Number(count); number++) {
  const form = new URLSearchParams({
    grant_type: GRANT_TOKEN_EXCHANGE,
    subject_token: mint(number),
    subject_token_type: TOKEN_TYPE_JWT,
    audience: 'payments',
  });
  lines.push(form.toString());
}
process.stdout.write(`${lines.join('\n')}\n`);
