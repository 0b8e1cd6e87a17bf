// Runs the doctor at a fake cluster, in this process, and takes apart what it tells.
import { command } from '../../../cli/commands/doctor/command.ts';
import { keep } from '../../support/tokens.ts';
import { createWorld, type FakeCluster, type World } from './cluster.ts';

export interface Row {
  readonly check: string;
  readonly state: string;
  readonly about?: string;
  readonly seen: string;
  readonly means?: string;
  readonly mend?: string;
}

export interface Told {
  readonly code: number;
  readonly text: string;
  readonly rows: readonly Row[];
}

export async function askDoctor(cluster: FakeCluster, args: readonly string[]): Promise<Told> {
  let text = '';
  let errors = '';
  const all = ['--kubeconfig', cluster.kubeconfig, '--output', 'json', ...args];
  const code = await command.run(all, {
    stdout: (more) => {
      text += more;
    },
    stderr: (more) => {
      errors += more;
    },
    stdin: async () => '',
    environment: {},
  });
  keep('doctor', text + errors);
  const { rows = [] } = text.startsWith('{') ? (JSON.parse(text) as { rows: Row[] }) : {};
  return { code, text: text + errors, rows };
}

/** In a world that differs from the healthy one in what `spoil` does to it. */
export function askSpoilt(
  cluster: FakeCluster,
  spoil: (world: World) => void,
  args: readonly string[] = [],
): Promise<Told> {
  const world = createWorld();
  spoil(world);
  cluster.world = world;
  return askDoctor(cluster, args);
}
