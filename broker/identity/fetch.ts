// One bounded GET for key material: https (or loopback), no redirect, a time and a size limit. The answer of the other
// side is never quoted in an error.
import { lookup as lookUp } from 'node:dns';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { isKeyUrl, isPublicAddress } from './address.ts';

export interface GetOptions {
  /** PEM; the system's roots where it is left out. */
  ca?: string;
  bearer?: string;
  /** Only hosts whose every address is one of the public internet. */
  publicOnly?: boolean;
  timeoutMs?: number;
  maxBytes?: number;
}

/** The other side answered with something else than 200. */
export class StatusError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`answered ${status}`);
    this.name = 'StatusError';
    this.status = status;
  }
}

export const FETCH_TIMEOUT_MS = 5000;
const MAX_BYTES = 256 * 1024;

/**
 * Fetches a text.
 * @throws StatusError for any status but 200 (a redirect too: following it would let the other side choose the host);
 *   Error for an address that is not allowed, no connection, too slow, too large.
 */
export function get(url: string, options: GetOptions = {}): Promise<string> {
  const {
    ca,
    bearer,
    publicOnly = false,
    timeoutMs = FETCH_TIMEOUT_MS,
    maxBytes = MAX_BYTES,
  } = options;
  if (!isKeyUrl(url)) return Promise.reject(new Error('the address is neither https nor loopback'));
  const isHttps = url.startsWith('https:');
  // An address written as such is never looked up.
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (publicOnly && (!isHttps || (isIP(host) !== 0 && !isPublicAddress(host))))
    return Promise.reject(new Error(NOT_PUBLIC));
  // Node takes an empty CA for "no opinion" and falls back to the public roots.
  if (isHttps && ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----')) {
    return Promise.reject(new Error('the CA file holds no certificate'));
  }
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const requestOptions: RequestOptions = {
    // A connection of its own: these are rare, and a kept one hides a changed certificate or address.
    agent: false,
    signal: AbortSignal.timeout(timeoutMs),
    ...(publicOnly && { lookup: lookUpPublic }),
    headers: {
      // An API server answers 406 for its keys to who does not take their own type (seen on 1.34), and JSON for the rest.
      Accept: 'application/jwk-set+json, application/json',
      ...(bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` }),
    },
  };
  const request = isHttps
    ? httpsRequest(url, {
        ...requestOptions,
        minVersion: 'TLSv1.2',
        ...(ca === undefined ? {} : { ca }),
      })
    : httpRequest(url, requestOptions);
  request.on('error', (error) =>
    reject(isTimeout(error) ? new Error(`no answer within ${timeoutMs} ms`) : error),
  );
  request.on('response', (response) => {
    if (response.statusCode !== 200) {
      request.destroy();
      reject(new StatusError(response.statusCode ?? 0));
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else request.destroy(new Error(`answered more than ${maxBytes} bytes`));
    });
    response.on('error', reject);
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
  });
  request.end();
  return promise;
}

const NOT_PUBLIC = 'the address is not one of the public internet over https';

/** What the name leads to at the moment of connecting is what counts: whoever owns a name can change it at will. */
const lookUpPublic: LookupFunction = (host, options, callback) => {
  lookUp(host, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, []);
    if (!addresses.every(({ address }) => isPublicAddress(address)))
      return callback(new Error(NOT_PUBLIC), []);
    const [first] = addresses;
    if (options.all === true || !first) return callback(null, addresses);
    callback(null, first.address, first.family);
  });
};

function isTimeout(error: Error): boolean {
  return (
    error.name === 'TimeoutError' ||
    (error.cause instanceof Error && error.cause.name === 'TimeoutError')
  );
}
