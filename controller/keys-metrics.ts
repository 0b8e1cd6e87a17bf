// The metrics of key pushes; they exist only where keys are pushed.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Clock } from '../common/clock.ts';
import { KEYS_OUTCOMES, type KeysOutcome } from './keys.ts';

/** Counts each try. */
export function createKeysMetrics(
  registry: Registry,
  clock: Pick<Clock, 'now'>,
): (outcome: KeysOutcome) => void {
  const registers = [registry];
  const pushes = new Counter({
    name: 'coatcheck_controller_key_pushes_total',
    help: "Tries to tell the broker this cluster's keys, by what came of them",
    labelNames: ['outcome'],
    registers,
  });
  const pushedAt = new Gauge({
    name: 'coatcheck_controller_keys_pushed_timestamp_seconds',
    help: "When the broker last took this cluster's keys from this replica; 0: never",
    registers,
  });
  for (const outcome of KEYS_OUTCOMES) pushes.inc({ outcome }, 0);
  return (outcome) => {
    pushes.inc({ outcome });
    if (outcome === 'accepted') pushedAt.set(Math.floor(clock.now() / 1000));
  };
}
