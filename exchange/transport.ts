// One POST to the broker, whatever runs us. Two makers of it: node:https (transport-node.ts) and Bun's fetch
// (transport-bun.ts), which starts five times faster where the program is compiled.

export interface TransportRequest {
  /** Whose host is the name the server's certificate must have, whatever address is dialled. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** PEM; only these are trusted. Undefined: the roots of the runtime. */
  readonly ca: string | undefined;
  /** Dialled instead of the URL's host and port. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly signal: AbortSignal;
  /** Reading stops beyond this many bytes of the body. */
  readonly maxBytes: number;
}

export interface TransportAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly header: (name: string) => string | undefined;
  readonly body: string;
  readonly isTooLong: boolean;
}

/**
 * Sends one request on a connection of its own: no redirect followed, no proxy, nothing from the environment.
 * Rejects with the runtime's error, whose `code` says what failed.
 */
export type Transport = (request: TransportRequest) => Promise<TransportAnswer>;

/** The transport for the runtime this process has. */
export async function createTransport(): Promise<Transport> {
  if (process.versions.bun !== undefined) return (await import('./transport-bun.ts')).postByFetch;
  return (await import('./transport-node.ts')).postByHttps;
}
