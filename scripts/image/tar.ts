// A tar archive (POSIX ustar) whose bytes follow from its entries alone: sorted, owned by root, dated 1970. Forty lines
// of header, against the thirteen packages that the usual library brings along.
import { Buffer } from 'node:buffer';

export interface TarEntry {
  /** Without a slash at either end; at most 100 bytes. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** Content of a regular file; absent for a folder or a link. */
  readonly content?: Buffer;
  /** Target of a symbolic link. */
  readonly link?: string;
}

const BLOCK = 512;
const LONGEST_PATH = 100;

/** @throws Error for a path or link that does not fit, or one that comes twice. */
export function toTar(entries: readonly TarEntry[]): Buffer {
  const sorted = [...entries].sort((a, b) =>
    Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)),
  );
  const twice = sorted.find((entry, index) => entry.path === sorted[index + 1]?.path);
  if (twice) throw new Error(`tar: ${twice.path} comes twice`);
  const blocks = sorted.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0);
    return [toHeader(entry), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)];
  });
  // Two blocks of zeros end an archive.
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function toHeader({ path, mode, content, link }: TarEntry): Buffer {
  const isFolder = content === undefined && link === undefined;
  const name = isFolder ? `${path}/` : path;
  for (const text of [name, link ?? '']) {
    if (Buffer.byteLength(text) > LONGEST_PATH) throw new Error(`tar: too long: ${text}`);
  }
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, size: number) =>
    header.write(`${value.toString(8).padStart(size - 1, '0')}\0`, at, 'latin1');
  header.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8); // uid
  octal(0, 116, 8); // gid
  octal(content?.length ?? 0, 124, 12);
  octal(0, 136, 12); // mtime
  header.write(isFolder ? '5' : link === undefined ? '0' : '2', 156);
  header.write(link ?? '', 157);
  header.write('ustar\x0000', 257, 'latin1');
  // The checksum counts its own field as spaces.
  header.fill(' ', 148, 156);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return header;
}
