// One complete list of a collection, read in pages. All pages are of the version that the first one names.
import type { KubeClient } from './client.ts';
import { KubeError } from './error.ts';
import { isKubeObject, type KubeObject } from './watch-stream.ts';

export interface Listing {
  readonly client: Pick<KubeClient, 'get'>;
  readonly path: string;
  /** `status.phase!=Failed`. */
  readonly fieldSelector?: string;
  /** Asks for names, labels and annotations alone (PartialObjectMetadata). */
  readonly metadataOnly?: boolean;
  readonly signal?: AbortSignal;
}

const PAGE = 250;
/** Of one page; roles and metadata are a few KiB each. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024;
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

/**
 * Calls `onObject` for each object.
 * @returns the version of the list; it holds whatever was stored before the first page was asked for
 * @throws KubeError, the signal's reason
 */
export async function listObjects(
  { client, path, fieldSelector, metadataOnly, signal }: Listing,
  onObject: (object: KubeObject) => void,
): Promise<string> {
  let resume = '';
  for (;;) {
    signal?.throwIfAborted();
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(resume !== '' && { continue: resume }),
    });
    const reading = { maxBytes: MAX_PAGE_BYTES, ...(metadataOnly && { accept: METADATA_LIST }) };
    const page = parseList(await client.get(`${path}?${query}`, reading));
    for (const object of page.items) onObject(object);
    if (page.resume === '') return page.resourceVersion;
    resume = page.resume;
  }
}

interface Page {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly resume: string;
}

function parseList(text: string): Page {
  const list = parse(text);
  const { resourceVersion, continue: resume = '' } = Object(list.metadata) as Record<
    string,
    unknown
  >;
  const { items } = list;
  if (!Array.isArray(items) || !items.every(isKubeObject) || typeof resourceVersion !== 'string')
    throw new KubeError('unavailable', 'answered something that is no list');
  return { items, resourceVersion, resume: String(resume) };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    throw new KubeError('unavailable', 'answered something that is not JSON');
  }
}
