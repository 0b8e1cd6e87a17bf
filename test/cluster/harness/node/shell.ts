// Inside of a cluster with a node: a person's shell, or one command, with kubectl and helm set up.
// Usage: node shell.ts [command …]
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { openNodeCluster } from './suite.ts';

const { facts, node } = openNodeCluster();
const folder = path.join(facts.workFolder, 'bin');
mkdirSync(folder);
symlinkSync(facts.kubectl, path.join(folder, 'kubectl'));
symlinkSync(node.helm, path.join(folder, 'helm'));

const images = Object.entries(node.images).map(([name, reference]) => `  ${name}: ${reference}`);
const [command = process.env.SHELL ?? 'sh', ...args] = process.argv.slice(2);
if (process.argv.length === 2) {
  console.log(`
A Kubernetes with one node; it is gone when this shell ends. Pods run, Services and DNS answer; there is no internet.
Images on the node (use imagePullPolicy: Never):
${images.join('\n')}
What this machine serves at ${node.address} is reached from pods. Try:
  kubectl get nodes -o wide
  kubectl run -it --rm try --image=${node.images['test-shell']} --image-pull-policy=Never -- sh
  helm install coatcheck charts/coatcheck -n auth --create-namespace \\
    --set image.repository=localhost/coatcheck,broker.store.persistence.enabled=false
`);
}
const { status } = spawnSync(command, args, {
  stdio: 'inherit',
  env: {
    ...process.env,
    KUBECONFIG: facts.kubeconfig,
    KUBECACHEDIR: path.join(facts.workFolder, 'kubectl'),
    HELM_CACHE_HOME: path.join(facts.workFolder, 'helm/cache'),
    HELM_CONFIG_HOME: path.join(facts.workFolder, 'helm/config'),
    HELM_DATA_HOME: path.join(facts.workFolder, 'helm/data'),
    PATH: `${folder}:${process.env.PATH ?? ''}`,
  },
});
process.exitCode = status ?? 1;
