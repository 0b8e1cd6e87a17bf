// The chart as helm renders it, for suites with and without a cluster: where helm is, and calls of it that touch nothing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { JsonObject } from '../../common/protocol/admission.ts';
import { findOnPath } from '../cluster/harness/binaries.ts';
import { toCacheRoot } from '../cluster/harness/cache.ts';
import { HELM, toCacheKey } from '../cluster/harness/versions.ts';

export const CHART = path.join(import.meta.dirname, '../../charts/coatcheck');

/** Helm built by the cluster tier before, or the one HELM or PATH name; HELM wins. */
export function findHelm(environment: NodeJS.ProcessEnv): string | undefined {
  if (environment.HELM) return environment.HELM;
  const platform = `${process.platform}-${process.arch}`;
  const built = path.join(toCacheRoot(environment), toCacheKey(platform, HELM), 'helm');
  return existsSync(built) ? built : findOnPath('helm', environment);
}

/** What this machine lacks for the chart's tests, a sentence that says what to do; undefined when nothing. */
export function findHelmLack(environment: NodeJS.ProcessEnv): string | undefined {
  return findHelm(environment) === undefined
    ? 'it needs helm: install one (helm.sh), name it in HELM, or let `make test-cluster` build it once'
    : undefined;
}

export interface HelmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs helm; `values` become its standard input, for `-f -`. @throws Error where there is none. */
export function runHelm(args: readonly string[], values?: object): HelmResult {
  const helm = findHelm(process.env);
  if (helm === undefined) throw new Error(`no helm: ${findHelmLack(process.env)}`);
  const { status, stdout, stderr, error } = spawnSync(helm, [...args], {
    input: values === undefined ? '' : JSON.stringify(values),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, HELM_NAMESPACE: '', HELM_PLUGINS: '/nonexistent' },
  });
  if (error) throw error;
  return { code: status ?? 1, stdout, stderr };
}

export interface Release {
  name?: string;
  namespace?: string;
  /** With what `helm test` makes, too. */
  withTests?: boolean;
}

// A helm built from its module takes every cluster for 1.20 when it is not told.
const KUBERNETES = ['--kube-version', '1.34.0'];

/** `helm template`; never throws for what helm refuses. */
export function templateChart(
  values: object,
  { name = 'coatcheck', namespace = 'auth', withTests = false }: Release = {},
): HelmResult {
  const more = withTests ? [] : ['--skip-tests'];
  return runHelm(
    ['template', name, CHART, '-n', namespace, ...KUBERNETES, ...more, '-f', '-'],
    values,
  );
}

export function lintChart(values: object): HelmResult {
  return runHelm(['lint', '--strict', ...KUBERNETES, '-f', '-', CHART], values);
}

/** The rendered objects. @throws Error with helm's words where it refuses. */
export function renderChart(values: object, release: Release = {}): Rendered {
  const { code, stdout, stderr } = templateChart(values, release);
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  const objects = parseAllDocuments(stdout)
    .map((document) => {
      if (document.errors.length > 0) throw new Error(`no YAML: ${document.errors[0]?.message}`);
      return document.toJS() as Manifest | null;
    })
    .filter((object) => object !== null);
  return {
    objects,
    ofKind: (kind) => objects.filter((object) => object.kind === kind),
    get: (kind, name) => {
      const found = objects.filter((one) => one.kind === kind && one.metadata.name === name);
      const [only] = found;
      if (!only || found.length > 1) throw new Error(`${found.length} objects ${kind}/${name}`);
      return only;
    },
  };
}

export interface Rendered {
  readonly objects: readonly Manifest[];
  ofKind(kind: string): readonly Manifest[];
  /** The one of that name. @throws Error where there is none. */
  get(kind: string, name: string): Manifest;
}

/** As much of Kubernetes' shapes as the assertions walk through. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [member: string]: unknown;
}

export interface PodSpec extends JsonObject {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly enableServiceLinks: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: JsonObject;
  readonly containers: readonly Container[];
  readonly volumes: readonly ({ readonly name: string } & JsonObject)[];
}

export interface Container extends JsonObject {
  readonly name: string;
  readonly image: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface PodTemplate {
  readonly metadata: Manifest['metadata'];
  readonly spec: PodSpec;
}

/** The pods of a Deployment. */
export function toTemplate(deployment: Manifest): PodTemplate {
  return (deployment.spec as { template: PodTemplate }).template;
}

export function toContainer(deployment: Manifest): Container {
  const { containers } = toTemplate(deployment).spec;
  const [only] = containers;
  if (!only || containers.length > 1) throw new Error(`${containers.length} containers`);
  return only;
}

/** The variables as the kubelet gives them to the container: `$(NAME)` expanded, `$$` a dollar, unknown names left. */
export function toEnvironment(
  container: Container,
  serviceLinks: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const known: Record<string, string> = { ...serviceLinks };
  for (const variable of container.env) {
    // The kubelet's to fill in.
    if ('valueFrom' in variable) continue;
    const { name, value } = variable;
    known[name] = value.replace(/\$(\$|\(([^)]*)\))/g, (whole, what: string, other: string) =>
      what === '$' ? '$' : (known[other] ?? whole),
    );
  }
  return known;
}
