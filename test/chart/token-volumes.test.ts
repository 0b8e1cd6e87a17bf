// The policy against ephemeral containers on the volumes with a pod's tokens: off at first, about these volumes by the names
// that the webhook gives them. That it compiles and refuses is shown on a real API server (test/cluster/chart).
import { expect } from 'chai';
import { IDENTITY_VOLUME, TOKENS_VOLUME } from '../../common/protocol/pod.ts';
import { renderChart } from './helm.ts';

describe('the policy about volumes of tokens from the chart', () => {
  const rendered = renderChart({
    tokenVolumePolicy: { enabled: true },
    excludeNamespaces: ['kube-system'],
  });
  const { spec } = rendered.get('ValidatingAdmissionPolicy', 'coatcheck-token-volumes') as {
    spec?: object;
  };

  it('is there only where it is wished', () => {
    const names = renderChart({}).objects.map(({ metadata }) => metadata.name);
    expect(names).to.not.include('coatcheck-token-volumes');
  });

  it('is about ephemeral containers alone, and refuses where it cannot decide', () => {
    expect(spec).to.deep.include({
      failurePolicy: 'Fail',
      matchConstraints: {
        matchPolicy: 'Equivalent',
        namespaceSelector: {},
        objectSelector: {},
        resourceRules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            resources: ['pods/ephemeralcontainers'],
            operations: ['UPDATE'],
            scope: 'Namespaced',
          },
        ],
      },
    });
  });

  it('knows the volumes by the names that the webhook gives them', () => {
    const text = JSON.stringify(spec);
    expect(text).to.include(`m.name in ['${IDENTITY_VOLUME}', '${TOKENS_VOLUME}']`);
  });

  it('denies, in the namespaces that the webhook sees', () => {
    const binding = rendered.get('ValidatingAdmissionPolicyBinding', 'coatcheck-token-volumes');
    const [registration] = rendered.get('MutatingWebhookConfiguration', 'coatcheck-webhook')
      .webhooks as { namespaceSelector: object }[];
    expect(binding.spec).to.deep.include({
      policyName: 'coatcheck-token-volumes',
      validationActions: ['Deny'],
    });
    expect((binding.spec as { matchResources: object }).matchResources).to.deep.include({
      namespaceSelector: registration?.namespaceSelector,
    });
  });
});
