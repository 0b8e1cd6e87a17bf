// The policy that warns about workloads: in step with the webhook's own keys, and never able to refuse anything. That it
// compiles and what it says is shown on a real API server (test/cluster/chart).
import { expect } from 'chai';
import { ANNOTATION_KEYS, NAMED_ANNOTATION_KEYS } from '../../common/protocol/pod.ts';
import { renderChart } from './helm.ts';

interface Policy {
  spec: {
    failurePolicy: string;
    matchConstraints: {
      resourceRules: { apiGroups: string[]; resources: string[]; operations: string[] }[];
    };
    variables: { name: string; expression: string }[];
    validations: { message: string; messageExpression: string }[];
  };
}
interface Binding {
  spec: { policyName: string; validationActions: string[]; matchResources: object };
}

const PREFIX = 'tokens.example.org/';

describe('warnings about workloads from the chart', () => {
  const rendered = renderChart({ prefix: PREFIX, excludeNamespaces: ['kube-system'] });
  const policy = rendered.get(
    'ValidatingAdmissionPolicy',
    'coatcheck-workloads',
  ) as unknown as Policy;
  const binding = rendered.get(
    'ValidatingAdmissionPolicyBinding',
    'coatcheck-workloads',
  ) as unknown as Binding;
  const unknown = policy.spec.variables.find(({ name }) => name === 'unknown')?.expression ?? '';
  const keys = [...unknown.matchAll(/'([^']*)'/g)].map((match) => match[1] ?? '');

  it('know exactly the keys that the webhook knows', () => {
    expect(keys).to.deep.equal([
      ...ANNOTATION_KEYS.map((key) => `${PREFIX}${key}`),
      ...NAMED_ANNOTATION_KEYS.map((key) => `${PREFIX}${key}.`),
    ]);
  });

  it('name the keys that are allowed', () => {
    const said = policy.spec.validations[0]?.messageExpression ?? '';
    const allowed = [
      ...ANNOTATION_KEYS.filter((key) => key !== 'status'),
      ...NAMED_ANNOTATION_KEYS.map((key) => `${key}.<name>`),
    ];
    expect(said).to.include(`allowed: ${allowed.join(', ')}'`);
  });

  it('only warn, also when they go wrong', () => {
    expect(binding.spec.validationActions).to.deep.equal(['Warn']);
    expect(policy.spec.failurePolicy).to.equal('Ignore');
    expect(binding.spec.policyName).to.equal('coatcheck-workloads');
  });

  it('concern everything with a pod template that people write', () => {
    const resources = policy.spec.matchConstraints.resourceRules.flatMap((rule) =>
      rule.resources.map((resource) => `${rule.apiGroups.join()}/${resource}`),
    );
    expect(resources).to.deep.equal([
      'apps/deployments',
      'apps/statefulsets',
      'apps/daemonsets',
      'apps/replicasets',
      'batch/jobs',
      'batch/cronjobs',
    ]);
    for (const { operations } of policy.spec.matchConstraints.resourceRules)
      expect(operations).to.deep.equal(['CREATE', 'UPDATE']);
  });

  it('concern the namespaces whose pods do', () => {
    const [webhook] = rendered.get('MutatingWebhookConfiguration', 'coatcheck-webhook')
      .webhooks as { namespaceSelector: object }[];
    expect(binding.spec.matchResources).to.deep.include({
      namespaceSelector: webhook?.namespaceSelector,
    });
  });

  it('can be switched off', () => {
    const { objects } = renderChart({ workloadWarnings: { enabled: false } });
    expect(objects.map(({ kind }) => kind).filter((kind) => kind.includes('Policy'))).to.deep.equal(
      ['NetworkPolicy', 'NetworkPolicy', 'NetworkPolicy'],
    );
  });
});
