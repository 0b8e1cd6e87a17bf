// Manifests as people write them: files or standard input, several documents, lists, and the pod templates inside of
// workloads. YAML is read as kubectl reads it (1.1: `0644` is octal, `yes` is true), but for its times of day and dates.
import { readFile } from 'node:fs/promises';
import { type Document, parseAllDocuments, type Tags } from 'yaml';
import type { Json, JsonObject } from '../../common/protocol/admission.ts';
import { findObject, findText, isObject, toPointerStep } from '../json.ts';

export interface ManifestDocument {
  /** As given on the command line. */
  readonly file: string;
  /** Counted from 1. */
  readonly number: number;
  readonly source: Document;
  /** The document as JSON; undefined where it is empty. */
  readonly value: Json | undefined;
}

/** A pod, or the template of one, inside a document. */
export interface PodPlace {
  /** JSON pointer of the pod; empty where the document is the pod. */
  readonly pointer: string;
  /** The same place as people write it: `spec.template`. */
  readonly path: string;
  readonly pod: JsonObject;
  /** The object that holds the template; undefined where the place is a pod itself. */
  readonly workload: JsonObject | undefined;
  readonly workloadPath: string;
}

export class ManifestError extends Error {}

// The API server's JSON has no dates, and the YAML that kubectl reads has no base-60 numbers.
const kubectlTags = (tags: Tags): Tags =>
  tags.filter(
    (tag) =>
      typeof tag === 'string' ||
      (tag.tag !== 'tag:yaml.org,2002:timestamp' && !('format' in tag && tag.format === 'TIME')),
  );

/** Reads one file, or standard input for `-`. @throws ManifestError that names the file. */
export async function readManifests(
  file: string,
  io: { stdin(): Promise<string> },
): Promise<readonly ManifestDocument[]> {
  const text = await readText(file, io);
  const documents = parseAllDocuments(text, { version: '1.1', customTags: kubectlTags });
  if (!Array.isArray(documents)) return [];
  return documents.map((source: Document, index) => {
    const [error] = source.errors;
    if (error)
      throw new ManifestError(`${file}: document ${index + 1} is no YAML: ${error.message}`);
    try {
      const value = source.toJS() as Json | null;
      return { file, number: index + 1, source, value: value ?? undefined };
    } catch (cause) {
      throw new ManifestError(
        `${file}: document ${index + 1} cannot be read: ${(cause as Error).message}`,
        { cause },
      );
    }
  });
}

async function readText(file: string, io: { stdin(): Promise<string> }): Promise<string> {
  if (file === '-') return io.stdin();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ManifestError(
      `${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown error'})`,
      { cause },
    );
  }
}

/** Every pod and pod template in a document, `List`s included. */
export function findPods(value: Json | undefined): readonly PodPlace[] {
  return isObject(value) ? findIn(value, []) : [];
}

function findIn(object: JsonObject, steps: readonly string[]): readonly PodPlace[] {
  if (Array.isArray(object.items) && /List$/.test(findText(object, 'kind') ?? '')) {
    return object.items.flatMap((item, i) =>
      isObject(item) ? findIn(item, [...steps, 'items', String(i)]) : [],
    );
  }
  if (object.kind === 'Pod') return [toPlace(object, steps, undefined)];
  const below = TEMPLATES.find((candidate) => isPodTemplate(dig(object, candidate)));
  return below
    ? [toPlace(dig(object, below) as JsonObject, [...steps, ...below], { workload: object, steps })]
    : [];
}

// PodTemplate, CronJob, and everything else that has pods: Deployment, Job, and custom workloads alike.
const TEMPLATES: readonly (readonly string[])[] = [
  ['spec', 'template'],
  ['spec', 'jobTemplate', 'spec', 'template'],
  ['template'],
];

function dig(object: JsonObject, steps: readonly string[]): JsonObject | undefined {
  return steps.reduce<JsonObject | undefined>((at, step) => at && findObject(at, step), object);
}

function isPodTemplate(candidate: JsonObject | undefined): boolean {
  const spec = candidate && findObject(candidate, 'spec');
  return spec !== undefined && 'containers' in spec;
}

function toPlace(
  pod: JsonObject,
  steps: readonly string[],
  owner: { workload: JsonObject; steps: readonly string[] } | undefined,
): PodPlace {
  return {
    pointer: steps.map((step) => `/${toPointerStep(step)}`).join(''),
    path: toPath(steps),
    pod,
    workload: owner?.workload,
    workloadPath: toPath(owner?.steps ?? []),
  };
}

function toPath(steps: readonly string[]): string {
  return steps
    .map((step, i) => (/^\d+$/.test(step) ? `[${step}]` : `${i > 0 ? '.' : ''}${step}`))
    .join('');
}
