// `coatcheck inject`: manifests in, the same manifests as the webhook would leave their pods out.
import jsonpatch, { type Operation } from 'fast-json-patch';
import { stringify } from 'yaml';
import type { Command, CommandIo } from '../../common/command.ts';
import type { Json, PatchOperation } from '../../common/protocol/admission.ts';
import { describeFlags, EXIT_BAD_SETTINGS, oneOf, SettingsError } from '../../common/settings.ts';
import { inject } from '../inject.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { findPods, type ManifestDocument, ManifestError, readManifests } from './manifests.ts';
import { COMMAND_TABLE, readCommand } from './options.ts';

const OUTPUT = {
  output: oneOf({
    doc: 'form of the result',
    values: ['yaml', 'json'],
    default: 'yaml',
    short: 'o',
    flagOnly: true,
  }),
} as const;

interface Injected {
  readonly value: Json | undefined;
  readonly isChanged: boolean;
  readonly document: ManifestDocument;
}

const EXIT_REFUSED = 1;

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { files, settings, options } = await readCommand(OUTPUT, args, io);
    const documents = (await Promise.all(files.map((file) => readManifests(file, io)))).flat();
    let isRefused = false;
    const tell = (text: string): void => io.stderr(`${text}\n`);
    const results = documents
      .filter(({ value }) => value !== undefined)
      .map((document) => {
        const result = injectDocument(document, settings, tell);
        if (!result) isRefused = true;
        return result;
      });
    // All or nothing: half of a file, applied, would be a surprise.
    if (isRefused) return EXIT_REFUSED;
    io.stdout(
      render(
        results.filter((one) => one !== undefined),
        options.output,
      ),
    );
    return 0;
  } catch (error) {
    if (error instanceof SettingsError || error instanceof ManifestError) {
      io.stderr(`coatcheck inject: ${error.message}\n`);
      return error instanceof SettingsError ? EXIT_BAD_SETTINGS : EXIT_REFUSED;
    }
    throw error;
  }
}

/** One document with all its pods injected, undefined where one is refused. */
function injectDocument(
  document: ManifestDocument,
  settings: InjectSettings,
  tell: (text: string) => void,
): Injected | undefined {
  const operations: PatchOperation[] = [];
  let isRefused = false;
  for (const { pod, pointer, path } of findPods(document.value)) {
    const where = `${document.file}:${document.number}:${path}`;
    const injection = inject(pod, settings);
    if (injection.ok) {
      for (const warning of injection.warnings) tell(`${where}: warning: ${warning}`);
      operations.push(
        ...injection.operations.map((one) => ({ ...one, path: `${pointer}${one.path}` })),
      );
    } else {
      isRefused = true;
      for (const { code, message } of injection.denials)
        tell(`${where}: denied: ${message} [${code}]`);
    }
  }
  if (isRefused) return undefined;
  const value = jsonpatch.applyPatch(
    structuredClone(document.value),
    structuredClone(operations) as Operation[],
  ).newDocument;
  return { document, value: value as Json, isChanged: operations.length > 0 };
}

function render(results: readonly Injected[], output: 'yaml' | 'json'): string {
  if (output === 'json') {
    const [only] = results;
    const value =
      results.length === 1 && only
        ? only.value
        : { apiVersion: 'v1', kind: 'List', items: results.map((one) => one.value) };
    return `${JSON.stringify(value, null, 2)}\n`;
  }
  return results
    .map(({ value, isChanged, document }) =>
      // What is not injected stays as it was written, comments included.
      isChanged
        ? stringify(value, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false })
        : document.source.toString().replace(/^---\n/, ''),
    )
    .join('---\n');
}

export const command: Command = {
  describe: 'print manifests as the webhook would leave them',
  help: () => `coatcheck inject -f FILE… [flags]

Prints the manifests with every annotated pod, or pod template of a workload (Deployment … CronJob), as the webhook
would leave it. Warnings go to standard error. Nothing is printed where a pod would be denied.

  -f, --filename FILE…   manifests; - is standard input; may be repeated

Exit codes: 0 printed, 1 a pod would be denied or a file cannot be read, 2 used wrongly.

Without the operator's settings the broker URL and the image are stand-ins under .invalid. To get a manifest that works,
give those of your installation.

Flags
${describeFlags({ ...OUTPUT, ...COMMAND_TABLE })}
`,
  run,
};
