// How a request to an API server fails.

/**
 * `unauthorized`, `forbidden` (the API server refuses our credential) and `unreadable` (there is none on the disk) are
 * the operator's to mend; `unavailable` is everything else. Quotes nothing that was sent or answered.
 */
export class KubeError extends Error {
  readonly kind: 'unauthorized' | 'forbidden' | 'unreadable' | 'unavailable';
  /** Of the answer, where there was one. */
  readonly status: number | undefined;
  /** What the answer asks to wait before the next try, seconds. */
  readonly retryAfterSeconds: number | undefined;
  /** Who owns fields that were to be applied: names of field managers, as far as they are plain words. */
  readonly owners: readonly string[];

  constructor(
    kind: KubeError['kind'],
    message: string,
    options: {
      cause?: unknown;
      status?: number;
      retryAfterSeconds?: number;
      owners?: readonly string[];
    } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'KubeError';
    this.kind = kind;
    this.status = options.status;
    this.owners = options.owners ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
