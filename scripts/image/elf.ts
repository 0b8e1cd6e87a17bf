// Which shared libraries a program needs, read from its ELF dynamic section (what ldd asks the dynamic linker for,
// without running the program), and where this machine has them.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface ElfNeeds {
  /** The dynamic linker's path; absent in a static program and in a library. */
  readonly interpreter?: string;
  /** File names of libraries, as the program states them. */
  readonly libraries: readonly string[];
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;

// Where distributions keep glibc; the dynamic linker of the same machine looks there without being told.
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  x64: ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', '/lib64', '/usr/lib64'],
  arm64: ['/lib/aarch64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/lib64', '/usr/lib64', '/lib'],
};

/** @throws Error for anything but a 64-bit little-endian ELF file. */
export function parseElf(file: Buffer): ElfNeeds {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    throw new Error('not a 64-bit little-endian ELF file');
  const segments = readSegments(file);
  const interpreter = segments.find(({ type }) => type === PT_INTERP);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  return {
    ...(interpreter && { interpreter: readText(file, interpreter.offset) }),
    libraries: dynamic ? readNeeded(file, dynamic, segments) : [],
  };
}

interface Segment {
  type: number;
  offset: number;
  address: number;
  size: number;
}

function readSegments(file: Buffer): Segment[] {
  const start = Number(file.readBigUInt64LE(0x20));
  const entrySize = file.readUInt16LE(0x36);
  const count = file.readUInt16LE(0x38);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * entrySize;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
}

function readNeeded(file: Buffer, dynamic: Segment, segments: readonly Segment[]): string[] {
  const entries = Array.from({ length: dynamic.size / 16 }, (_, index) => ({
    tag: file.readBigInt64LE(dynamic.offset + index * 16),
    value: Number(file.readBigUInt64LE(dynamic.offset + index * 16 + 8)),
  }));
  const strings = entries.find(({ tag }) => tag === DT_STRTAB)?.value ?? 0;
  const segment = segments.find(
    ({ type, address, size }) => type === PT_LOAD && strings >= address && strings < address + size,
  );
  if (!segment) throw new Error('the dynamic section has no string table');
  const table = strings - segment.address + segment.offset;
  return entries
    .filter(({ tag }) => tag === DT_NEEDED)
    .map(({ value }) => readText(file, table + value));
}

function readText(file: Buffer, at: number): string {
  return file.toString('latin1', at, file.indexOf(0, at));
}

/**
 * Every file beside the program itself that it needs to start: the dynamic linker and all libraries, theirs included,
 * as absolute paths in the image. `sysroot` is the folder that stands for / where the files are another machine's.
 * @throws Error that names a library that is missing.
 */
export function findRuntimeFiles(
  program: string,
  { architecture = process.arch as string, sysroot = '' } = {},
): string[] {
  const found = new Set<string>();
  // A library of glibc's own may need the dynamic linker by name: the program has it at the path it states.
  const { interpreter } = parseElf(readFileSync(program));
  const linker = interpreter === undefined ? undefined : path.basename(interpreter);
  if (interpreter !== undefined) found.add(interpreter);
  const waiting = [program];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const { libraries } = parseElf(readFileSync(file));
    const needed = libraries
      .filter((name) => name !== linker)
      .map((name) => getLibrary(name, { architecture, sysroot, program }));
    for (const library of needed) {
      if (found.has(library)) continue;
      found.add(library);
      waiting.push(sysroot + library);
    }
  }
  return [...found].sort();
}

function getLibrary(
  name: string,
  { architecture, sysroot, program }: { architecture: string; sysroot: string; program: string },
): string {
  const folders = FOLDERS[architecture] ?? [];
  const file = folders
    .map((folder) => path.join(folder, name))
    .find((candidate) => existsSync(sysroot + candidate));
  if (file === undefined)
    throw new Error(
      `${path.basename(program)} needs ${name}, which is not in ${folders.join(', ')}`,
    );
  return file;
}
