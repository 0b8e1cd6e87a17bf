// Bodies in and answers out: JSON with a limit, and the check every posted object passes first.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { badRequest, bodyTooLarge, unsupportedMediaType } from './status.ts';

// kube-apiserver's own limit.
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/**
 * The JSON body of a request.
 * @throws KubeError 415 without `Content-Type: application/json` (a page in a browser cannot send that across origins
 * without asking first), 413 above 3 MiB, 400 for anything that is no JSON.
 */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw unsupportedMediaType();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Leaving the loop early would close the connection before the answer is out.
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES) throw bodyTooLarge(MAX_BODY_BYTES);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    // The parser's own message quotes the body, which may hold a token.
    throw badRequest('the body is not valid JSON');
  }
}

/**
 * An object of `kind` in authentication.k8s.io/v1; kind and apiVersion may be left out, as kube-apiserver allows.
 * @throws KubeError 400
 */
export function parseObject(body: unknown, kind: string): Record<string, unknown> {
  if (!isRecord(body)) throw badRequest(`the body must be a ${kind}`);
  const { apiVersion = 'authentication.k8s.io/v1', kind: given = kind } = body;
  if (apiVersion !== 'authentication.k8s.io/v1' || given !== kind) {
    throw badRequest(`the body must be of kind ${kind} in authentication.k8s.io/v1`);
  }
  return body;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

export interface Answer {
  code: number;
  body: unknown;
  contentType?: string;
}

export function sendAnswer(response: ServerResponse, { code, body, contentType }: Answer): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(code, {
    'Content-Type': contentType ?? 'application/json',
    'Content-Length': Buffer.byteLength(text),
    // Keys and objects end with this process; nobody may remember them.
    'Cache-Control': 'no-store',
  });
  response.end(text);
}
