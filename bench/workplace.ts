// The files of one benchmark run, in a temporary folder: certificates, the issuer's key, the broker's keys, roles and
// clusters table. Nothing of it is secret for longer than the run.
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { issueAuthority, issueCertificate } from '../common/certificates.ts';

export const ISSUER = 'https://bench.example';
/** The name in the certificates, and of the broker's URL. */
export const SERVER_NAME = 'localhost';

const ROLE = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-checkout }
spec:
  audience: payments
  subjects:
    - { namespace: shop, serviceAccount: checkout }
  token: { ttl: 15m, scopes: [payments:read] }
`;

const DAY_MS = 86_400_000;

export interface Workplace {
  readonly folder: string;
  /** PEM of the CA that signed the serving certificate. */
  readonly ca: string;
  readonly kid: string;
  file(name: string): string;
  remove(): void;
}

export function createWorkplace(): Workplace {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-bench-'));
  const file = (name: string): string => path.join(folder, name);
  const write = (name: string, text: string): void =>
    writeFileSync(file(name), text, { mode: 0o600 });
  const life = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  };
  const authority = issueAuthority({ commonName: 'bench CA', ...life });
  const leaf = issueCertificate(
    { commonName: SERVER_NAME, names: [SERVER_NAME, '127.0.0.1'], ...life },
    authority,
  );
  write('ca.pem', authority.certificate);
  write('tls.crt', leaf.certificate);
  write('tls.key', leaf.key);
  const kid = writeIssuer(write);
  mkdirSync(file('roles'));
  write('roles/payments.yaml', ROLE);
  mkdirSync(file('signing-keys'));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  write('signing-keys/1.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  const cluster = {
    name: 'bench',
    kind: 'kubernetes',
    issuer: ISSUER,
    validation: 'offline',
    keys: { file: 'jwks.json' },
  };
  write('clusters.yaml', JSON.stringify({ clusters: [cluster] }));
  return {
    folder,
    ca: authority.certificate,
    kid,
    file,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The key pair of the cluster's issuer; returns the kid. */
function writeIssuer(write: (name: string, text: string) => void): string {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const kid = createHash('sha256').update(der).digest('base64url');
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
  write('jwks.json', JSON.stringify({ keys: [jwk] }));
  write('issuer.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  write('issuer.pub', publicKey.export({ type: 'spki', format: 'pem' }) as string);
  return kid;
}
