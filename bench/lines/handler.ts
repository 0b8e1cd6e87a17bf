// The webhook's own work, without HTTP and TLS: bytes of a review in, bytes of the answer out. Runs in a process of its
// own on the server's core and prints one figure per round; bench/main.ts starts it.
import path from 'node:path';
import { toSpread } from '../load/latencies.ts';
import { runForJson, SERVER_CORE } from '../machine.ts';
import type { Bench } from '../programs.ts';
import type { Row } from '../table.ts';

const MAX_MICROSECONDS = 100;

export async function measureHandler({ machine, isQuick }: Bench): Promise<readonly Row[]> {
  const rounds = await runForJson<number[]>({
    machine,
    core: SERVER_CORE,
    args: [path.join(import.meta.dirname, '../load/handler.ts'), isQuick ? '500' : '3000'],
  });
  const ours = toSpread(rounds);
  return [
    {
      line: 'the webhook’s own work: review in, answer out, no HTTP',
      unit: 'µs',
      ours,
      target: '≤ 100 µs',
      isMet: ours.median <= MAX_MICROSECONDS,
    },
  ];
}
