// The yardstick for exchanges: the least a Node HTTP server can do that parses the form, verifies the subject token
// (RS256) and signs a client token (ES256), with node:crypto's one-shot functions. No issuer, no roles, no audit.
// node bench/references/http-exchange.ts <public key of the issuer, PEM file>
import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const issuerKey = createPublicKey(readFileSync(process.argv[2] ?? ''));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = encode({ alg: 'ES256', kid: 'reference', typ: 'at+jwt' });

function exchange(form: URLSearchParams): string {
  const token = form.get('subject_token') ?? '';
  const [head = '', body = '', signature = ''] = token.split('.');
  const signed = Buffer.from(`${head}.${body}`);
  if (!verify('sha256', signed, issuerKey, Buffer.from(signature, 'base64url'))) return '';
  const subject = JSON.parse(Buffer.from(body, 'base64url').toString()) as {
    aud: [string];
    sub: string;
  };
  const iat = Math.floor(Date.now() / 1000);
  const claims = {
    iss: 'reference',
    sub: subject.sub,
    aud: subject.aud[0],
    iat,
    exp: iat + 900,
    jti: randomUUID(),
  };
  const input = `${header}.${encode({ ...claims, 'kubernetes.io': Reflect.get(subject, 'kubernetes.io') })}`;
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
}

const server = createServer({ noDelay: true }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const token = exchange(new URLSearchParams(Buffer.concat(chunks).toString()));
    const body = JSON.stringify({
      access_token: token,
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 900,
      scope: '',
    });
    response.writeHead(token === '' ? 400 : 200, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ready ${(server.address() as AddressInfo).port}\n`);
});
