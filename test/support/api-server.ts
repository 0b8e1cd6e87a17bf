// An API server as far as TokenReview goes: real HTTPS with a CA of its own, the caller's bearer token checked, every
// review kept, and answers like kube-apiserver's (which echo the token) unless a test scripts others.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ReviewSettings } from '../../broker/identity/cluster-review.ts';
import {
  type IssuedCertificate,
  issueAuthority,
  issueCertificate,
} from '../../common/certificates.ts';
import { noteToken } from './tokens.ts';

export interface AskedReview {
  readonly token: string;
  readonly audiences: readonly string[];
}

export interface ScriptedAnswer {
  readonly status?: number;
  /** A text is sent as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface FakeApiServer {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Reviews that were asked with the right credential, in order. */
  readonly reviews: AskedReview[];
  /** Statuses of all answers. */
  readonly answered: number[];
  /** Requests that wait for their answer now, and the most that did at once. */
  readonly open: number;
  readonly maxOpen: number;
  readonly connections: number;
  /** What is answered to a review with the right credential; {@link toReview} unless replaced. */
  answer: (asked: AskedReview) => ScriptedAnswer | Promise<ScriptedAnswer>;
  /** What follows is answered only after `release`. */
  hold(): void;
  release(): void;
  /** Another credential is accepted from now on; the file on the disk stays as it is. */
  rotateCredential(): string;
  /** Writes the accepted credential to the disk, or this text. */
  writeCredential(text?: string): void;
  /** Another CA and certificate; the file on the disk stays as it is, until `writeCa`. */
  rotateCa(): void;
  writeCa(text?: string): void;
  closeConnections(): void;
  /** Breaks the connections of the next requests instead of answering them. */
  breakOff(requests: number): void;
  readonly brokenOff: number;
  close(): Promise<void>;
}

const VALIDITY = {
  notBefore: new Date(Date.now() - 86_400_000),
  notAfter: new Date(Date.now() + 86_400_000),
};

/** Starts on a free port of loopback; the credential and the CA are on the disk. */
export async function startApiServer(): Promise<FakeApiServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-api-server-'));
  let [ca, certificate] = issue();
  let bearer = createBearer();
  let gate: PromiseWithResolvers<void> | undefined;
  let open = 0;
  let toBreak = 0;
  const counts = { maxOpen: 0, connections: 0, brokenOff: 0 };
  const server = createServer({ cert: certificate.certificate, key: certificate.key });
  server.on('secureConnection', () => {
    counts.connections += 1;
  });
  server.on('request', (request, response) => void serve(request, response));

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    if (toBreak > 0) {
      toBreak -= 1;
      counts.brokenOff += 1;
      request.socket.destroy();
      return;
    }
    open += 1;
    counts.maxOpen = Math.max(counts.maxOpen, open);
    await gate?.promise;
    const { status = 201, body: answer = '', headers = {} } = await decide(request, body);
    open -= 1;
    fake.answered.push(status);
    response.writeHead(status, headers);
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  }

  function decide(
    request: IncomingMessage,
    body: string,
  ): ScriptedAnswer | Promise<ScriptedAnswer> {
    if (request.headers.authorization !== `Bearer ${bearer}`) return { status: 401 };
    if (request.url !== '/apis/authentication.k8s.io/v1/tokenreviews' || request.method !== 'POST')
      return { status: 404 };
    const { spec } = JSON.parse(body) as { spec: AskedReview };
    fake.reviews.push(spec);
    return fake.answer(spec);
  }

  const write = (name: string, text: string) => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeApiServer = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caFile: write('ca.crt', ca.certificate),
    tokenFile: write('token', bearer),
    reviews: [],
    answered: [],
    get open() {
      return open;
    },
    get maxOpen() {
      return counts.maxOpen;
    },
    get connections() {
      return counts.connections;
    },
    answer: (asked) => ({ body: toReview(asked) }),
    hold: () => {
      gate = Promise.withResolvers<void>();
    },
    release: () => {
      gate?.resolve();
      gate = undefined;
    },
    rotateCredential: () => {
      bearer = createBearer();
      return bearer;
    },
    writeCredential: (text = `${bearer}\n`) => void write('token', text),
    rotateCa: () => {
      [ca, certificate] = issue();
      server.setSecureContext({ cert: certificate.certificate, key: certificate.key });
    },
    writeCa: (text = ca.certificate) => void write('ca.crt', text),
    breakOff: (requests) => {
      toBreak = requests;
    },
    get brokenOff() {
      return counts.brokenOff;
    },
    closeConnections: () => server.closeAllConnections(),
    close: async () => {
      fake.release();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
  return fake;
}

/** An entry's review settings for this server. */
export function toReviewSettings(
  server: Pick<FakeApiServer, 'url' | 'caFile' | 'tokenFile'>,
  more: Partial<ReviewSettings> = {},
): ReviewSettings {
  const { url, caFile, tokenFile } = server;
  return {
    url,
    caFile,
    tokenFile,
    onUnavailable: 'deny',
    maxConcurrent: 32,
    queueSeconds: 4,
    positiveCacheSeconds: 30,
    ...more,
  };
}

/** What kube-apiserver 1.34 answers to a review of a living pod's token; `status` is merged over it. */
export function toReview({ token, audiences }: AskedReview, status: object = {}): object {
  const claims = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  ) as ReviewedClaims;
  const own = typeof claims.aud === 'string' ? [claims.aud] : claims.aud;
  return {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {},
    spec: { token, audiences },
    status: {
      authenticated: true,
      user: toUser(claims),
      audiences: own.filter((audience) => audiences.includes(audience)),
      ...status,
    },
  };
}

interface ReviewedClaims {
  sub: string;
  jti: string;
  aud: string | string[];
  'kubernetes.io': {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    node?: { name: string; uid: string };
  };
}

function toUser({ sub, jti, 'kubernetes.io': kubernetes }: ReviewedClaims): object {
  const { pod, node, serviceaccount, namespace } = kubernetes;
  const extra = 'authentication.kubernetes.io';
  return {
    username: sub,
    uid: serviceaccount.uid,
    groups: [
      'system:serviceaccounts',
      `system:serviceaccounts:${namespace}`,
      'system:authenticated',
    ],
    extra: {
      [`${extra}/credential-id`]: [`JTI=${jti}`],
      ...(node && { [`${extra}/node-name`]: [node.name], [`${extra}/node-uid`]: [node.uid] }),
      ...(pod && { [`${extra}/pod-name`]: [pod.name], [`${extra}/pod-uid`]: [pod.uid] }),
    },
  };
}

/** What it answers when the pod is gone. */
export function toRejection({ token, audiences }: AskedReview): object {
  return {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {},
    spec: { token, audiences },
    status: {
      user: {},
      error: '[invalid bearer token, service account token has been invalidated]',
    },
  };
}

function createBearer(): string {
  return noteToken(`test-reviewer-${randomBytes(16).toString('hex')}`);
}

function issue(): [ca: IssuedCertificate, certificate: IssuedCertificate] {
  const ca = issueAuthority({ commonName: 'api-server-ca', ...VALIDITY });
  return [
    ca,
    issueCertificate({ commonName: 'api-server', names: ['127.0.0.1'], ...VALIDITY }, ca),
  ];
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
