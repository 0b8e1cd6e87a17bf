// The logs of all pods, as the kubelet keeps them; they are in memory and end with the node.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { keep } from '../../../support/tokens.ts';

const FOLDER = '/var/log/pods';

/** Keeps them under `pod_<namespace>_<pod>_<uid>_<container>_<life>.log`. */
export function keepPodLogs(): void {
  for (const file of readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.log')) continue;
    keep(`pod_${file.replaceAll('/', '_')}`, readFileSync(path.join(FOLDER, file), 'utf8'));
  }
}
