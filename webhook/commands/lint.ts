// `coatcheck lint`: what the webhook would say of the pods of manifests, and what the cluster's policy for workloads would
// (a key on the workload itself, where nobody reads it). For CI: kubectl shows neither for a Deployment.
import type { Command, CommandIo } from '../../common/command.ts';
import type { JsonObject } from '../../common/protocol/admission.ts';
import { describeFlags, EXIT_BAD_SETTINGS, oneOf, SettingsError } from '../../common/settings.ts';
import { toShown } from '../errors.ts';
import { inject } from '../inject.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { findObject, findText } from '../json.ts';
import {
  findPods,
  type ManifestDocument,
  ManifestError,
  type PodPlace,
  readManifests,
} from './manifests.ts';
import { COMMAND_TABLE, readCommand } from './options.ts';

const OUTPUT = {
  output: oneOf({
    doc: 'form of the findings',
    values: ['text', 'json'],
    default: 'text',
    short: 'o',
    flagOnly: true,
  }),
} as const;

/** One thing to say. The names of the members are stable: they are `--output json`. */
export interface Finding {
  readonly file: string;
  /** Counted from 1. */
  readonly document: number;
  /** Place inside the document. */
  readonly path: string;
  readonly kind: string;
  readonly name: string;
  readonly severity: 'denied' | 'warning';
  /** A code of docs/annotations.md; of warnings only the misplaced key has one. */
  readonly code?: string;
  readonly message: string;
}

const EXIT_REFUSED = 1;

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { files, settings, options } = await readCommand(OUTPUT, args, io);
    const documents = (await Promise.all(files.map((file) => readManifests(file, io)))).flat();
    const pods = documents.flatMap((document) =>
      findPods(document.value).map((place) => ({ document, place })),
    );
    const findings = pods.flatMap(({ document, place }) => lintPod(document, place, settings));
    if (options.output === 'json')
      io.stdout(`${JSON.stringify({ pods: pods.length, findings }, null, 2)}\n`);
    else io.stdout(renderText(findings, pods.length));
    return findings.some(({ severity }) => severity === 'denied') ? EXIT_REFUSED : 0;
  } catch (error) {
    if (error instanceof SettingsError || error instanceof ManifestError) {
      io.stderr(`coatcheck lint: ${error.message}\n`);
      return error instanceof SettingsError ? EXIT_BAD_SETTINGS : EXIT_REFUSED;
    }
    throw error;
  }
}

/** Everything there is to say of one pod or pod template. */
function lintPod(
  document: ManifestDocument,
  place: PodPlace,
  settings: InjectSettings,
): readonly Finding[] {
  const owner = place.workload ?? place.pod;
  const about = {
    file: document.file,
    document: document.number,
    kind: findText(owner, 'kind') ?? '',
    name: findName(owner),
  };
  const at = (annotation?: string) =>
    [
      place.path,
      ...(annotation === undefined ? [] : [`metadata.annotations[${JSON.stringify(annotation)}]`]),
    ]
      .filter(Boolean)
      .join('.');
  const injection = inject(place.pod, settings);
  const misplaced = findMisplacedKeys(place, settings.prefix).map((finding) => ({
    ...about,
    ...finding,
  }));
  if (!injection.ok) {
    const denied = injection.denials.map(({ annotation, code, message }) => ({
      ...about,
      path: at(annotation),
      severity: 'denied' as const,
      code,
      message,
    }));
    return [...misplaced, ...denied];
  }
  const warned = injection.warnings.map((message) => ({
    ...about,
    path: at(),
    severity: 'warning' as const,
    message,
  }));
  return [...misplaced, ...warned];
}

function findName(owner: JsonObject): string {
  const metadata = findObject(owner, 'metadata') ?? {};
  const generated = findText(metadata, 'generateName');
  return findText(metadata, 'name') ?? (generated === undefined ? '' : `${generated}(generated)`);
}

function findMisplacedKeys(
  { workload, workloadPath, path }: PodPlace,
  prefix: string,
): readonly Pick<Finding, 'path' | 'severity' | 'code' | 'message'>[] {
  const metadata = workload && findObject(workload, 'metadata');
  const annotations = (metadata && findObject(metadata, 'annotations')) ?? {};
  return Object.keys(annotations)
    .filter((key) => key.startsWith(prefix))
    .map((key) => ({
      path: [workloadPath, `metadata.annotations[${JSON.stringify(key)}]`]
        .filter(Boolean)
        .join('.'),
      severity: 'warning',
      code: 'annotation_misplaced',
      message: `${toShown(key)} stands on the workload itself, where it does nothing; it belongs to ${path}.metadata.annotations`,
    }));
}

function renderText(findings: readonly Finding[], pods: number): string {
  const lines = findings.map(({ file, document, path, kind, name, severity, code, message }) => {
    const what = [kind, name].filter(Boolean).map(toShown).join('/');
    return `${file}:${document}:${path}: ${severity}: ${what}: ${message}${code === undefined ? '' : ` [${code}]`}`;
  });
  const count = (severity: Finding['severity']) =>
    findings.filter((one) => one.severity === severity).length;
  lines.push(
    `${pods} pods and pod templates: ${count('denied')} denied, ${count('warning')} warnings`,
  );
  return `${lines.join('\n')}\n`;
}

export const command: Command = {
  describe: 'say what the webhook would say of manifests, in CI',
  help: () => `coatcheck lint -f FILE… [flags]

Says what the webhook would say of every pod and pod template (Deployment … CronJob), and which annotations stand on a
workload itself instead of on its template. Each line is FILE:DOCUMENT:PATH: what.

  -f, --filename FILE…   manifests; - is standard input; may be repeated

Exit codes: 0 nothing would be denied, 1 something would or a file cannot be read, 2 used wrongly.

Flags
${describeFlags({ ...OUTPUT, ...COMMAND_TABLE })}
`,
  run,
};
