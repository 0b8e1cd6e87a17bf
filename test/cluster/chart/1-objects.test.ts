// Step 1: a real API server takes every object of the chart, with strict field validation and without storing anything.
import { expect } from 'chai';
import {
  findHelmLack,
  type Manifest,
  type Rendered,
  renderChart,
  toTemplate,
} from '../../chart/helm.ts';
import { createCa, toUnusualValues, toUsualValues } from '../../chart/values.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';

/** Collections of the kinds the chart may hold; a kind that is not here is a decision. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  ConfigMap: '/api/v1/namespaces/{}/configmaps',
  PersistentVolumeClaim: '/api/v1/namespaces/{}/persistentvolumeclaims',
  Secret: '/api/v1/namespaces/{}/secrets',
  Service: '/api/v1/namespaces/{}/services',
  ServiceAccount: '/api/v1/namespaces/{}/serviceaccounts',
  Deployment: '/apis/apps/v1/namespaces/{}/deployments',
  HorizontalPodAutoscaler: '/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers',
  NetworkPolicy: '/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies',
  PodDisruptionBudget: '/apis/policy/v1/namespaces/{}/poddisruptionbudgets',
  CustomResourceDefinition: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  Role: '/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles',
  RoleBinding: '/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings',
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  MutatingWebhookConfiguration:
    '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  ValidatingAdmissionPolicy: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding:
    '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
  Pod: '/api/v1/namespaces/{}/pods',
};

/** Kinds of others: their CRDs are not here, and an API server without them knows no path for them. */
const FOREIGN = ['ServiceMonitor', 'PrometheusRule'];

describe('chart, step 1: objects before a real API server', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  let namespace: TestNamespace;
  let defaults: Rendered;
  let profiles: Readonly<Record<string, Rendered>> = {};

  before(async function () {
    const lack = findHelmLack(process.env);
    if (lack !== undefined) {
      console.log(`\n!!! SKIPPED the chart: ${lack}\n`);
      return this.skip();
    }
    cluster = openCluster();
    namespace = await createNamespace(cluster, 'chart', {
      'pod-security.kubernetes.io/enforce': 'restricted',
    });
    const release = { namespace: namespace.name };
    const ca = createCa();
    defaults = renderChart({}, release);
    profiles = {
      'the defaults': defaults,
      'a first installation': renderChart(toUsualValues(ca), release),
      // An address of this cluster's own range is nothing a test can know.
      'everything set': renderChart(withoutAddress(toUnusualValues(ca)), release),
      'a broker in another cluster': renderChart(
        {
          broker: { enabled: false },
          brokerUrl: 'https://tokens.example.org',
          brokerCaBundle: ca,
          networkPolicy: { remoteBroker: { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] } },
        },
        release,
      ),
      'a broker for other clusters': renderChart(
        {
          broker: {
            service: { type: 'LoadBalancer', loadBalancerSourceRanges: ['192.0.2.0/24'] },
          },
        },
        release,
      ),
      'scaled by load': renderChart(
        {
          webhook: { autoscaling: { enabled: true } },
          broker: { autoscaling: { enabled: true }, store: { type: 'none' } },
        },
        release,
      ),
    };
    return undefined;
  });
  after(() => namespace?.remove());

  const dryRun = ({ kind, ...rest }: Manifest) => {
    const collection = COLLECTIONS[kind];
    if (collection === undefined) throw new Error(`the chart has a ${kind}; add its collection`);
    const path = collection.replace('{}', namespace.name);
    return cluster.request('POST', `${path}?dryRun=All&fieldValidation=Strict`, { kind, ...rest });
  };

  it('are taken as they are, without a warning', async () => {
    for (const [name, { objects }] of Object.entries(profiles)) {
      expect(objects.length, name).to.be.greaterThan(14);
      for (const object of objects.filter(({ kind }) => !FOREIGN.includes(kind))) {
        const { status, body, warnings } = await dryRun(object);
        const what = `${name}: ${object.kind}/${object.metadata.name}: ${String(body.message)}`;
        expect(status, what).to.equal(201);
        expect(warnings, what).to.deep.equal([]);
      }
    }
  });

  it('would be refused with a field that does not exist', async () => {
    const deployment = defaults.get('Deployment', 'coatcheck-broker');
    const { status, body } = await dryRun({
      ...deployment,
      spec: { ...(deployment.spec as object), replica: 1 },
    });
    expect(status).to.equal(400);
    expect(String(body.message)).to.include('spec.replica');
  });

  it('have pods that a namespace with Pod Security restricted admits', async () => {
    for (const deployment of defaults.ofKind('Deployment')) {
      const { metadata, spec } = toTemplate(deployment);
      await namespace.addServiceAccount(spec.serviceAccountName);
      const pod = { metadata: { ...metadata, generateName: 'x-' }, spec };
      const path = `/api/v1/namespaces/${namespace.name}/pods?dryRun=All&fieldValidation=Strict`;
      const admitted = await cluster.request('POST', path, pod);
      expect(admitted.status, String(admitted.body.message)).to.equal(201);
      // The near miss: the namespace does enforce.
      const refused = await cluster.request('POST', path, {
        ...pod,
        spec: { ...spec, securityContext: {} },
      });
      expect(refused.status).to.equal(403);
      expect(String(refused.body.message)).to.include('PodSecurity "restricted');
    }
    // That of helm test.
    const { spec } = renderChart({}, { namespace: namespace.name, withTests: true }).get(
      'Pod',
      'coatcheck-test',
    );
    await namespace.addServiceAccount('coatcheck-test');
    const path = `/api/v1/namespaces/${namespace.name}/pods?dryRun=All&fieldValidation=Strict`;
    const admitted = await cluster.request('POST', path, { metadata: { name: 'x' }, spec });
    expect(admitted.status, String(admitted.body.message)).to.equal(201);
  });
});

function withoutAddress(values: object): object {
  const { broker, ...rest } = values as { broker: object };
  return { ...rest, broker: { ...broker, service: { clusterIP: '' } } };
}
