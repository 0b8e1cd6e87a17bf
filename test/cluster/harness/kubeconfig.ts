// A kubeconfig for one user of the cluster, as JSON (which is YAML).
import { readFileSync, writeFileSync } from 'node:fs';
import type { IssuedCertificate } from '../../../common/certificates.ts';

export interface KubeconfigOptions {
  server: string;
  caFile: string;
  client: IssuedCertificate;
}

/** Writes it so that only this user can read it, and returns its path. */
export function writeKubeconfig(
  file: string,
  { server, caFile, client }: KubeconfigOptions,
): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const name = 'cluster-tier';
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name,
        cluster: { server, 'certificate-authority-data': base64(readFileSync(caFile, 'utf8')) },
      },
    ],
    users: [
      {
        name,
        user: {
          'client-certificate-data': base64(client.certificate),
          'client-key-data': base64(client.key),
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  return file;
}
