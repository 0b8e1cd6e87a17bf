// The product's own sources as text, for the tests that check the shape of the code.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.join(import.meta.dirname, '../..');
export const PROGRAMS = [
  'webhook',
  'exchange',
  'broker',
  'controller',
  'console',
  'dev',
  'cli',
  'sdk',
] as const;
const FOLDERS = ['common', ...PROGRAMS];

export interface Source {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly {
    readonly target: string;
    readonly line: number;
    readonly lazy: boolean;
  }[];
}

/** All .ts files of the product (no tests, scripts or benchmarks). */
export function readSources(): readonly Source[] {
  const files = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && FOLDERS.includes(entry.name))
    .flatMap((entry) =>
      readdirSync(path.join(ROOT, entry.name), { recursive: true, encoding: 'utf8' }).map((file) =>
        path.join(entry.name, file),
      ),
    );
  return files
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map(readSource);
}

function readSource(file: string): Source {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const imports = text.split('\n').flatMap((line, index) => {
    const match =
      /^(?:import|export)\b.*?from '([^']+)'|^\s*\} from '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'/.exec(
        line,
      );
    const written = match?.[1] ?? match?.[2] ?? match?.[3] ?? match?.[4];
    if (written === undefined) return [];
    const target = written.startsWith('.')
      ? path.posix.normalize(path.posix.join(path.posix.dirname(file), written))
      : written;
    return [{ target, line: index + 1, lazy: match?.[3] !== undefined }];
  });
  return { path: file, text, imports };
}
