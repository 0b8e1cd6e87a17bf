// An API server as far as access reviews go: plain HTTP on loopback, the credential checked, every question kept, and
// answers in kube-apiserver's form by the rules that a test gives.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { noteToken } from './tokens.ts';

export interface AskedAccess {
  readonly kind: 'SelfSubjectAccessReview' | 'SubjectAccessReview';
  readonly user?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
  readonly resourceAttributes: Readonly<Record<string, string>>;
}

export interface FakeAccessServer {
  readonly url: string;
  /** Needed by the client's options alone: over plain HTTP nothing is read from it. */
  readonly caFile: string;
  readonly tokenFile: string;
  readonly asked: AskedAccess[];
  /** Who may what; nobody anything unless replaced. A number is a status, an object or a text a whole body. */
  decide: (asked: AskedAccess) => boolean | number | object | string;
  close(): Promise<void>;
}

/** Starts on a free port of loopback. */
export async function startAccessServer(): Promise<FakeAccessServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-access-'));
  const bearer = noteToken(`test-access-${randomBytes(16).toString('hex')}`);
  const tokenFile = path.join(folder, 'token');
  writeFileSync(tokenFile, bearer);
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { status, body } =
        request.headers.authorization === `Bearer ${bearer}`
          ? answer(request.url ?? '', Buffer.concat(chunks).toString())
          : { status: 401, body: '' };
      response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  const answer = (url: string, text: string): { status: number; body: object | string } => {
    const { kind, spec } = JSON.parse(text) as { kind: AskedAccess['kind']; spec: object };
    if (url !== `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`)
      return { status: 404, body: '' };
    const asked = { kind, ...spec } as AskedAccess;
    fake.asked.push(asked);
    const decided = fake.decide(asked);
    if (typeof decided === 'number') return { status: decided, body: '' };
    if (typeof decided !== 'boolean') return { status: 201, body: decided };
    return { status: 201, body: toAccessReview(asked, { allowed: decided }) };
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeAccessServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caFile: path.join(folder, 'ca.crt'),
    tokenFile,
    asked: [],
    decide: () => false,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
  return fake;
}

/** A whole answer with this status. */
export function toAccessReview({ kind, ...spec }: AskedAccess, status: object): object {
  return { kind, apiVersion: 'authorization.k8s.io/v1', metadata: {}, spec, status };
}
