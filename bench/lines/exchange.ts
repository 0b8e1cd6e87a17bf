// Exchanges: the broker (offline validation, every subject token different, audit on) against a bare HTTP server that
// parses the form, verifies RS256 and signs ES256. Plain HTTP on both sides: TLS costs both the same.
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { PATH_TOKEN } from '../../common/protocol/oauth.ts';
import { alternate, type Contestant, toRows } from '../alternate.ts';
import { LOAD_CORE, SERVER_CORE, startPinned } from '../machine.ts';
import { type Bench, startBroker, startReference } from '../programs.ts';
import type { Row } from '../table.ts';
import { ISSUER, SERVER_NAME, type Workplace } from '../workplace.ts';

// As many as the broker can use in all rounds; the reference, which could remember none, starts again from the top.
const TOKENS = { full: 100_000, quick: 16_000 };

export async function measureExchange(bench: Bench): Promise<readonly Row[]> {
  const { machine, workplace, isQuick } = bench;
  const linesFile = await mintTokens(bench, isQuick ? TOKENS.quick : TOKENS.full);
  const job: Contestant['job'] = {
    target: { host: '127.0.0.1', serverName: SERVER_NAME },
    path: PATH_TOKEN,
    contentType: 'application/x-www-form-urlencoded',
    body: { linesFile, skip: 0, isReused: false },
    connections: 16,
    seconds: 0,
  };
  const comparison = await alternate(
    machine,
    {
      ours: { start: () => startBroker(bench, { isTls: false }), job },
      reference: {
        start: () => startReference(machine, 'http-exchange.ts', [workplace.file('issuer.pub')]),
        job: { ...job, body: { linesFile, skip: 0, isReused: true } },
      },
    },
    isQuick
      ? { rounds: 2, warmUpSeconds: 1, seconds: 1 }
      : { rounds: 5, warmUpSeconds: 6, seconds: 2 },
  );
  const [speed, ...others] = toRows(comparison, {
    line: 'token exchanges, distinct tokens, offline, audit on, 16 connections',
    unit: 'exchanges/s',
    of: 'exchange',
  });
  return [{ ...speed, target: '≥ 75 % of the reference, in a later release' }, ...others];
}

/** Mints on both cores; returns the file with one form body a line. */
export async function mintTokens({ machine, workplace }: Bench, count: number): Promise<string> {
  const half = Math.ceil(count / 2);
  const parts = await Promise.all([
    mint({ machine, workplace, core: SERVER_CORE, first: 0, count: half }),
    mint({ machine, workplace, core: LOAD_CORE, first: half, count: half }),
  ]);
  const file = workplace.file('bodies.txt');
  for (const part of parts) appendFileSync(file, part);
  return file;
}

interface MintOptions extends Pick<Bench, 'machine'> {
  workplace: Workplace;
  core: number;
  first: number;
  count: number;
}

/** @returns form bodies, one a line. */
export function mint({ machine, workplace, core, first, count }: MintOptions): Promise<string> {
  const program = path.join(import.meta.dirname, '../load/mint.ts');
  const child = startPinned({
    machine,
    core,
    command: process.execPath,
    args: [
      program,
      workplace.file('issuer.pem'),
      ISSUER,
      workplace.kid,
      String(first),
      String(count),
    ],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`minting tokens ended with code ${code}`)),
    );
  });
}
