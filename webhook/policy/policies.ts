// The injection without a webhook: a MutatingAdmissionPolicy that injects, a ValidatingAdmissionPolicy that refuses what it
// could not, and a binding for each. A pure function of the same settings that the webhook has.
import type { InjectSettings } from '../inject-settings.ts';
import { quoted, type Variable } from './cel.ts';
import { toContainerVariables } from './containers.ts';
import { toDifferenceVariables, toPatchExpression } from './operations.ts';
import { toLastRule, toMountVariables, toPodRules } from './pod-rules.ts';
import { toRequestVariables } from './request.ts';
import type { Rule } from './rule.ts';
import { toAnnotationRules } from './rules.ts';
import { toWantedVariables } from './wanted.ts';

/** Since 1.32, 1.34 and 1.36; the first two behind a feature gate. */
export const API_VERSIONS = ['v1alpha1', 'v1beta1', 'v1'] as const;

/** A LabelSelector of Kubernetes. */
export interface NamespaceSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly object[];
}

export interface PolicyOptions {
  /** Of MutatingAdmissionPolicy; ValidatingAdmissionPolicy is v1 since 1.30. */
  readonly apiVersion: (typeof API_VERSIONS)[number];
  /** Beginning of the objects' names. */
  readonly name: string;
  readonly excludeNamespaces: readonly string[];
  readonly namespaceSelector: NamespaceSelector;
  /** Audiences that are no DNS labels and may stand in `audience` all the same. */
  readonly audiences: readonly string[];
}

const GROUP = 'admissionregistration.k8s.io';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** The four objects, in the order in which they are to be applied: nothing is injected unchecked. */
export function toPolicies(settings: InjectSettings, options: PolicyOptions): readonly object[] {
  const inject = `${options.name}-inject`;
  const check = `${options.name}-check`;
  const rules = [...toAnnotationRules(settings), ...toPodRules(settings)];
  const variables = toVariables(settings, options.audiences);
  const shared = { failurePolicy: 'Fail', ...toMatching(settings.prefix) };
  const validating = toMaker(options, 'v1');
  const mutating = toMaker(options, options.apiVersion);
  return [
    validating('ValidatingAdmissionPolicy', check, {
      ...shared,
      variables,
      validations: [...rules, toLastRule(inject)].map(toValidation),
    }),
    validating('ValidatingAdmissionPolicyBinding', check, {
      policyName: check,
      validationActions: ['Deny'],
      matchResources: toScope(options),
    }),
    mutating('MutatingAdmissionPolicy', inject, {
      ...shared,
      reinvocationPolicy: 'IfNeeded',
      variables: [
        ...variables,
        {
          name: 'isServed',
          expression: rules.map(({ expression }) => `(${expression})`).join(' && '),
        },
      ],
      mutations: [
        { patchType: 'JSONPatch', jsonPatch: { expression: toPatchExpression(settings) } },
      ],
    }),
    mutating('MutatingAdmissionPolicyBinding', inject, {
      policyName: inject,
      matchResources: toScope(options),
    }),
  ];
}

function toVariables(settings: InjectSettings, audiences: readonly string[]): readonly Variable[] {
  return [
    ...toRequestVariables(settings, audiences),
    ...toContainerVariables(settings),
    ...toWantedVariables(settings),
    ...toDifferenceVariables(),
    ...toMountVariables(settings),
  ];
}

function toMaker({ name }: PolicyOptions, version: string) {
  const labels = { 'app.kubernetes.io/name': 'coatcheck', 'app.kubernetes.io/instance': name };
  return (kind: string, objectName: string, spec: object) => ({
    apiVersion: `${GROUP}/${version}`,
    kind,
    metadata: { name: objectName, labels },
    spec,
  });
}

/** The creation of pods that carry a key of ours, as the webhook's registration has it. */
function toMatching(prefix: string): object {
  return {
    matchConstraints: {
      matchPolicy: 'Equivalent',
      namespaceSelector: {},
      objectSelector: {},
      resourceRules: [
        {
          apiGroups: [''],
          apiVersions: ['v1'],
          resources: ['pods'],
          operations: ['CREATE'],
          scope: 'Namespaced',
        },
      ],
    },
    matchConditions: [
      {
        name: 'annotated',
        expression: `has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith(${quoted(prefix)}) && k != ${quoted(`${prefix}status`)})`,
      },
      {
        // The API server refuses token volumes on such pods. Anybody may make one; a kubelet runs none that mirrors no file of its own.
        name: 'no-mirror-pod',
        expression: `!has(object.metadata.annotations) || !(${quoted(MIRROR_ANNOTATION)} in object.metadata.annotations)`,
      },
    ],
  };
}

function toScope({ excludeNamespaces, namespaceSelector }: PolicyOptions): object {
  const { matchExpressions = [], ...rest } = namespaceSelector;
  const excluded = {
    key: 'kubernetes.io/metadata.name',
    operator: 'NotIn',
    values: [...excludeNamespaces],
  };
  const expressions = [...matchExpressions, ...(excludeNamespaces.length > 0 ? [excluded] : [])];
  const selector = { ...rest, ...(expressions.length > 0 && { matchExpressions: expressions }) };
  return { matchPolicy: 'Equivalent', namespaceSelector: selector, objectSelector: {} };
}

function toValidation({ code, expression, message, detail }: Rule): object {
  const end = ` [${code}]`;
  return {
    expression,
    reason: 'Invalid',
    message: `coatcheck: ${message}${end}`,
    ...(detail !== undefined && {
      messageExpression: `"coatcheck: " + ${detail} + ${quoted(end)}`,
    }),
  };
}
