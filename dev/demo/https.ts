// One HTTPS request that trusts the demo's CA and nothing else, the way the API server trusts the webhook's caBundle.
import { request } from 'node:https';

export interface HttpsRequest {
  url: string;
  /** PEM. */
  ca: string;
  /** JSON to post; GET without. */
  body?: unknown;
}

/**
 * @returns the body of a 200, parsed.
 * @throws Error for any other status, and where the server is not the one the CA vouches for.
 */
export function callJson({ url, ca, body }: HttpsRequest): Promise<unknown> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers =
      text === undefined
        ? {}
        : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
    const sent = request(
      url,
      { method: text === undefined ? 'GET' : 'POST', ca, headers, agent: false },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          answer += chunk;
        });
        response.once('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(answer));
          else reject(new Error(`${new URL(url).pathname} answered ${response.statusCode}`));
        });
      },
    );
    sent.once('error', reject);
    sent.end(text);
  });
}
