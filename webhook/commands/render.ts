// `coatcheck render`: the operator's settings in, the policies that inject without a webhook out, to be applied by kubectl.
import { stringify } from 'yaml';
import type { Command, CommandIo } from '../../common/command.ts';
import {
  describeFlags,
  EXIT_BAD_SETTINGS,
  json,
  list,
  oneOf,
  SettingsError,
  text,
} from '../../common/settings.ts';
import { isObject } from '../json.ts';
import { API_VERSIONS, type NamespaceSelector, toPolicies } from '../policy/policies.ts';
import { audiences } from '../setting-kinds.ts';
import { INJECT_TABLE } from '../settings.ts';
import { COMMAND_TABLE, readOperatorSettings } from './options.ts';

const OWN = {
  mode: oneOf({
    doc: 'what to render; policy is the injection by admission policies',
    values: ['policy'],
    flagOnly: true,
  }),
  apiVersion: oneOf({
    doc: 'version of MutatingAdmissionPolicy: v1alpha1 for Kubernetes 1.32 and 1.33, v1beta1 since 1.34, v1 since 1.36',
    values: API_VERSIONS,
    default: 'v1beta1',
    flagOnly: true,
  }),
  name: text({
    doc: 'beginning of the names of the policies',
    default: 'coatcheck',
    pattern: /^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/,
    allowed: 'a DNS label of at most 52 characters',
    flagOnly: true,
  }),
  excludeNamespaces: list({
    doc: 'namespaces whose pods are left alone',
    default: [],
    defaultText: 'none',
    pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    allowed: 'the name of a namespace',
    flagOnly: true,
  }),
  namespaceSelector: json({
    doc: 'labels of the namespaces whose pods are injected, a LabelSelector in JSON: {"matchLabels":{"tier":"web"}}',
    default: {} as NamespaceSelector,
    check: toNamespaceSelector,
    flagOnly: true,
  }),
  knownAudiences: {
    ...audiences(
      'audiences that are no DNS labels (URLs, say) and may be asked for without a name of their own',
    ),
    flagOnly: true,
  },
  output: oneOf({
    doc: 'form of the result',
    values: ['yaml', 'json'],
    default: 'yaml',
    short: 'o',
    flagOnly: true,
  }),
} as const;

// No stand-ins, unlike for `inject`: what is rendered is applied to a cluster.
const RENDER_TABLE = {
  ...COMMAND_TABLE,
  brokerUrl: INJECT_TABLE.brokerUrl,
  image: INJECT_TABLE.image,
  ...OWN,
} as const;

/** The API server checks what is inside. @throws Error that says what is allowed. */
function toNamespaceSelector(value: unknown): NamespaceSelector {
  const isSelector =
    isObject(value) &&
    Object.entries(value).every(([key, one]) =>
      key === 'matchLabels' ? isObject(one) : key === 'matchExpressions' && Array.isArray(one),
    );
  if (!isSelector)
    throw new Error('must be a JSON object with matchLabels, matchExpressions or both');
  return value as NamespaceSelector;
}

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { settings, options } = await readOperatorSettings(RENDER_TABLE, { args, io }, (rest) =>
      rest.length > 0 ? ['render takes no arguments but flags'] : [],
    );
    const { apiVersion, name, excludeNamespaces, namespaceSelector, knownAudiences, output } =
      options;
    const objects = toPolicies(settings, {
      apiVersion,
      name,
      excludeNamespaces,
      namespaceSelector,
      audiences: knownAudiences,
    });
    io.stdout(output === 'json' ? toJson(objects) : toYaml(objects));
    return 0;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    io.stderr(`coatcheck render: ${error.message}\n`);
    return EXIT_BAD_SETTINGS;
  }
}

function toJson(objects: readonly object[]): string {
  return `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, null, 2)}\n`;
}

function toYaml(objects: readonly object[]): string {
  const documents = objects.map((one) =>
    stringify(one, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false }),
  );
  return `# Made by coatcheck render --mode policy. Do not edit: render it again.\n${documents.join('---\n')}`;
}

export const command: Command = {
  describe: 'print the policies that inject without a webhook',
  help: () => `coatcheck render --mode policy --broker-url URL --image IMAGE [flags]

Prints a MutatingAdmissionPolicy that injects annotated pods as the webhook does, a ValidatingAdmissionPolicy that refuses
what it cannot do, and their bindings, for kubectl apply -f -. No webhook server is needed then. docs/policy-mode.md says
what is different, and which clusters have such policies.

Give the settings of your installation: they are in what is printed, the broker's authorities (--broker-ca-file) included.

Exit codes: 0 printed, 2 used wrongly.

Flags
${describeFlags({ ...OWN, ...RENDER_TABLE })}
`,
  run,
};
