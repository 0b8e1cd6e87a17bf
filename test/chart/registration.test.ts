// The webhook's registration: what the API server is told to send, and what happens when nobody answers.
import { expect } from 'chai';
import { toWebhookConfiguration } from '../cluster/harness/manifests.ts';
import { renderChart } from './helm.ts';
import { createCa } from './values.ts';

const render = (values: object, release = {}) =>
  renderChart(values, release).ofKind('MutatingWebhookConfiguration')[0] as unknown as {
    metadata: { name: string; annotations?: object };
    webhooks: Record<string, unknown>[];
  };

describe('the registration from the chart', () => {
  it('is the one that the cluster suites show to work, but for the address', () => {
    const ca = createCa();
    const harness = toWebhookConfiguration('x', [
      { name: 'pods', url: 'https://127.0.0.1/mutate', ca, namespaceLabels: { a: 'b' } },
    ]) as { webhooks: Record<string, unknown>[] };
    const { webhooks } = render({
      certificates: { mode: 'provided' },
      caBundle: ca,
      webhook: { namespaceSelector: { matchLabels: { a: 'b' } } },
    });
    expect(webhooks).to.have.lengthOf(1);
    expect(webhooks[0]).to.deep.equal({
      ...harness.webhooks[0],
      clientConfig: {
        service: { name: 'coatcheck-webhook', namespace: 'auth', path: '/mutate', port: 443 },
        caBundle: Buffer.from(ca).toString('base64'),
      },
      // The defaults of Kubernetes, written down so that no comparison finds a difference later.
      matchPolicy: 'Equivalent',
      objectSelector: {},
    });
  });

  it('sends annotated pods alone, and holds back those alone when nobody answers', () => {
    const [webhook] = render({ prefix: 'tokens.example.org/' }).webhooks;
    expect(webhook?.failurePolicy).to.equal('Fail');
    expect(webhook?.matchConditions).to.deep.equal([
      {
        name: 'annotated',
        expression:
          "has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('tokens.example.org/') && k != 'tokens.example.org/status')",
      },
    ]);
    expect(webhook?.timeoutSeconds).to.equal(5);
  });

  it('concerns all namespaces by default', () => {
    expect(render({}).webhooks[0]?.namespaceSelector).to.deep.equal({});
  });

  it('leaves out the namespaces it is told to, beside a selector', () => {
    const selector = {
      matchLabels: { tokens: 'yes' },
      matchExpressions: [{ key: 'tier', operator: 'Exists' }],
    };
    const values = {
      excludeNamespaces: ['kube-system', 'ops'],
      webhook: { namespaceSelector: selector },
    };
    expect(render(values).webhooks[0]?.namespaceSelector).to.deep.equal({
      matchLabels: { tokens: 'yes' },
      matchExpressions: [
        { key: 'tier', operator: 'Exists' },
        {
          key: 'kubernetes.io/metadata.name',
          operator: 'NotIn',
          values: ['kube-system', 'ops'],
        },
      ],
    });
  });

  it('has no caBundle where none is given, so that another tool can fill it in', () => {
    expect(render({}).webhooks[0]?.clientConfig).to.deep.equal({
      service: { name: 'coatcheck-webhook', namespace: 'auth', path: '/mutate', port: 443 },
    });
    const annotations = { 'example.com/inject-ca': 'auth/ca' };
    const annotated = render({ webhook: { configurationAnnotations: annotations } });
    expect(annotated.metadata.annotations).to.deep.equal(annotations);
  });

  it('points at the Service, whose port leads to the port of the process', () => {
    const rendered = renderChart({ webhook: { port: 10_250 } });
    const { ports, selector } = rendered.get('Service', 'coatcheck-webhook').spec as {
      ports: object[];
      selector: object;
    };
    expect(ports).to.deep.equal([
      { name: 'https', port: 443, targetPort: 'https', protocol: 'TCP' },
    ]);
    const { template } = rendered.get('Deployment', 'coatcheck-webhook').spec as {
      template: { metadata: { labels: object }; spec: { containers: { ports: object[] }[] } };
    };
    expect(template.metadata.labels).to.include(selector);
    expect(template.spec.containers[0]?.ports).to.deep.include({
      name: 'https',
      containerPort: 10_250,
      protocol: 'TCP',
    });
  });
});
