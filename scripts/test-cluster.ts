// `make test-cluster`: the chart, the product on a real kube-apiserver, and on a real node. Builds what it needs into a
// cache outside the checkout, then runs the suites inside namespaces of their own (test/cluster/README.md). Arguments go to mocha.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { findHelm, findHelmLack } from '../test/chart/helm.ts';
import { findLack, hasGo, openBinaries, openComponent } from '../test/cluster/harness/binaries.ts';
import { findIsolation, isolate } from '../test/cluster/harness/isolation.ts';
import { findNodeLack, openNodeBinaries } from '../test/cluster/harness/node/programs.ts';
import { dieWithParent } from '../test/cluster/harness/process.ts';
import { GO_MINIMUM_OF_NODE, HELM } from '../test/cluster/harness/versions.ts';
import { buildImage, IMAGE_GROUPS } from './image/build.ts';
import { ROOT, runTiers, type Tier } from './tiers.ts';

const HARNESS = path.join(ROOT, 'test/cluster/harness/main.ts');
const NODE_HARNESS = path.join(ROOT, 'test/cluster/harness/node/run.ts');
const foreign = Boolean(process.env.TEST_KUBECONFIG);

/** With TEST_KUBECONFIG nothing is built or isolated: the cluster is out there. */
function findWhatLacks(): string | undefined {
  if (!foreign) return findLack(process.env);
  return process.env.TEST_CALLBACK_HOST
    ? undefined
    : 'with TEST_KUBECONFIG, set TEST_CALLBACK_HOST to the address at which that cluster reaches this machine (the webhook runs here)';
}

function findWhatNodeLacks(): string | undefined {
  return foreign
    ? 'its suites bring their own images, and run on a node of their own alone'
    : findNodeLack(process.env);
}

const lack = findWhatLacks();
const isolation = foreign || lack !== undefined ? 'none' : findIsolation();
await prepareHelm();
if (lack === undefined) await prepare();
if (findWhatNodeLacks() === undefined) await prepareNode();

await runTiers('test-cluster', [
  {
    // Needs helm and no cluster; it stands here because helm is built where the cluster's programs are.
    name: 'chart',
    specs: ['test/chart/**/*.test.ts'],
    findLack: () => findHelmLack(process.env),
  },
  {
    // The images as they ship: what is in them, whether they can be built again. They stand here for the time they take.
    name: 'images',
    specs: ['test/images/**/*.test.ts'],
  },
  {
    // Tens of thousands of requests at one broker process. It needs no cluster, and stands here for the time it takes.
    name: 'load',
    specs: ['test/load/**/*.test.ts'],
  },
  {
    name: 'cluster',
    group: 'beside the cluster',
    specs: ['test/cluster/!(node-*)/**/*.test.ts'],
    findLack: () => lack,
    wrap: (command, folder) => {
      const work = path.join(folder, 'work');
      mkdirSync(work);
      return isolate(isolation, work, [process.execPath, HARNESS, ...command]);
    },
  },
  {
    // Outside of all namespaces: it starts nodes and looks at what they leave.
    name: 'node-clean',
    group: 'beside the cluster',
    specs: ['test/cluster/node-clean/**/*.test.ts'],
    findLack: findWhatNodeLacks,
  },
  // Pods really run. Alone, because it counts what is refused while everything changes.
  toNodeTier('node-install', ['install'], 'installation'),
  // Two nodes side by side, because their suites mostly wait: for the kubelet's steps, for tokens to be renewed.
  toNodeTier('node', ['smoke', 'inject', 'refresh', 'refusals', 'roles', 'deaths', 'missed']),
  toNodeTier('node-hardship', ['security', 'networking', 'mesh', 'outage', 'doctor']),
]);

/** The suites `node-<name>` on a node of their own: its harness makes the namespaces. */
function toNodeTier(name: string, suites: readonly string[], group = 'nodes'): Tier {
  return {
    name,
    group,
    specs: suites.map((suite) => `test/cluster/node-${suite}/**/*.test.ts`),
    findLack: findWhatNodeLacks,
    wrap: (command, folder) => [
      ...dieWithParent(),
      process.execPath,
      NODE_HARNESS,
      path.join(folder, 'work'),
      ...command,
    ],
  };
}

async function prepareHelm(): Promise<void> {
  if (findHelm(process.env) !== undefined || !hasGo(process.env, GO_MINIMUM_OF_NODE)) return;
  await openComponent(HELM, process.env);
}

/** What several nodes at once would otherwise each build. */
async function prepareNode(): Promise<void> {
  await openNodeBinaries(process.env);
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'all'], {
    stdio: 'inherit',
  });
  for (const name of IMAGE_GROUPS.all) await buildImage(name, process.env);
}

async function prepare(): Promise<void> {
  // The exchange is tested as it is shipped.
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'exchange'], {
    stdio: 'inherit',
  });
  if (foreign) return;
  const { controllerManager } = await openBinaries(process.env);
  if (controllerManager === undefined) {
    console.log(
      '\n!!! SKIPPED cases of Deployments: KUBEBUILDER_ASSETS has no kube-controller-manager\n',
    );
  }
  if (isolation === 'none') {
    console.log(
      'No namespaces here (neither root nor user namespaces): the cluster runs as plain processes.',
    );
  }
}
