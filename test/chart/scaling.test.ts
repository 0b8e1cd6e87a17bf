// How many pods, decided by whom; the node's own network; variables of one's own.
import { expect } from 'chai';
import { renderChart, templateChart, toContainer, toTemplate } from './helm.ts';

const POSTGRES = { store: { type: 'postgres', postgres: { secretName: 'db' } } };
const ON = { autoscaling: { enabled: true, maxReplicas: 4 } };

describe('autoscaling from the chart', () => {
  const scaled = renderChart({ webhook: ON, broker: { ...ON, ...POSTGRES } });

  it('is there for nobody at first', () => {
    expect(renderChart({}).ofKind('HorizontalPodAutoscaler')).to.deep.equal([]);
  });

  for (const program of ['webhook', 'broker']) {
    it(`of the ${program} decides alone: the Deployment states no number that an upgrade would set back`, () => {
      const { spec } = scaled.get('HorizontalPodAutoscaler', `coatcheck-${program}`);
      expect(spec).to.deep.equal({
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: `coatcheck-${program}` },
        minReplicas: 2,
        maxReplicas: 4,
        metrics: [
          {
            type: 'Resource',
            resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
          },
        ],
      });
      expect(scaled.get('Deployment', `coatcheck-${program}`).spec).to.not.have.property(
        'replicas',
      );
    });

    it(`of the ${program} has a budget for disruptions where there are always two, and only then`, () => {
      const budgets = (minReplicas: number) =>
        renderChart({
          [program]: { ...POSTGRES_OF[program], autoscaling: { enabled: true, minReplicas } },
        })
          .ofKind('PodDisruptionBudget')
          .filter(({ metadata }) => metadata.name === `coatcheck-${program}`).length;
      expect([budgets(1), budgets(2)]).to.deep.equal([0, 1]);
    });
  }

  for (const [what, values, says] of [
    ['of one sqlite file', { broker: ON }, 'the store sqlite is one file of one broker'],
    [
      'between limits that cross',
      { webhook: { autoscaling: { enabled: true, minReplicas: 5, maxReplicas: 4 } } },
      'webhook.autoscaling.maxReplicas: is 4, less than minReplicas, 5',
    ],
    [
      'by a share of nothing',
      { webhook: { ...ON, resources: { requests: { cpu: null } } } },
      'webhook.autoscaling.enabled: needs webhook.resources.requests.cpu',
    ],
  ] as const) {
    it(`${what} is refused`, () => {
      const { code, stderr } = templateChart(values);
      expect(code).to.not.equal(0);
      expect(stderr).to.include(says);
    });
  }
});

const POSTGRES_OF: Readonly<Record<string, object>> = { broker: POSTGRES };

describe('the webhook on the network of its node', () => {
  const onNode = renderChart({ webhook: { hostNetwork: true, port: 9553 } });

  it('listens at its ports there, and gives way to its successor, which needs the same', () => {
    const deployment = onNode.get('Deployment', 'coatcheck-webhook');
    expect(toTemplate(deployment).spec).to.include({ hostNetwork: true });
    expect(toContainer(deployment).ports).to.deep.include({
      name: 'https',
      containerPort: 9553,
      protocol: 'TCP',
    });
    expect((deployment.spec as { strategy: object }).strategy).to.deep.equal({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 1, maxSurge: 0 },
    });
  });

  it('is alone there', () => {
    for (const name of ['coatcheck-broker', 'coatcheck-controller'])
      expect(toTemplate(onNode.get('Deployment', name)).spec).to.not.have.property('hostNetwork');
    const usual = renderChart({}).get('Deployment', 'coatcheck-webhook');
    expect(toTemplate(usual).spec).to.not.have.property('hostNetwork');
  });
});

describe('variables of one’s own', () => {
  for (const program of ['webhook', 'broker', 'controller']) {
    it(`reach the ${program}, after ours`, () => {
      const extraEnv = [{ name: 'OTEL_SERVICE_NAME', value: 'x' }];
      const { env } = toContainer(
        renderChart({ [program]: { extraEnv } }).get('Deployment', `coatcheck-${program}`),
      );
      expect(env.at(-1)).to.deep.equal(extraEnv[0]);
    });
  }

  it('are none of ours, which are values', () => {
    const extraEnv = [{ name: 'COATCHECK_PREFIX', value: 'x/' }];
    const { code, stderr } = templateChart({ webhook: { extraEnv } });
    expect(code).to.not.equal(0);
    expect(stderr).to.include('/webhook/extraEnv/0/name');
  });
});
