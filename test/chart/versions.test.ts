// Every version of Kubernetes that the chart is for knows every field of what it renders. That a real API server of one of them
// takes it all is shown in test/cluster/chart.
import { expect } from 'chai';
import { type Manifest, renderChart } from './helm.ts';
import { createChecker, KINDS, VERSIONS } from './kubernetes/shapes.ts';
import { createCa, toUnusualValues, toUsualValues } from './values.ts';

const ca = createCa();
const ON = { enabled: true };
const SETS: readonly (readonly [name: string, values: object])[] = [
  ['the defaults', {}],
  ['a first installation', toUsualValues(ca)],
  ['everything set', toUnusualValues(ca)],
  [
    'one scaled by load, on the nodes’ network',
    {
      webhook: { autoscaling: ON, hostNetwork: true },
      broker: { autoscaling: ON, store: { type: 'none' } },
    },
  ],
  ['certificates by cert-manager', { certificates: { mode: 'cert-manager' } }],
  ['a broker elsewhere', { broker: { enabled: false }, brokerUrl: 'https://tokens.example.org' }],
];

/** Kinds of others, whose CRDs no version of Kubernetes has; TokenRole is ours. */
const FOREIGN = /^(monitoring\.coreos\.com|cert-manager\.io|auth\.example\.io)\//;

describe('what the chart renders', () => {
  const rendered = SETS.map(([name, values]) => {
    const { objects } = renderChart(values, { withTests: true });
    return [name, objects.filter(({ apiVersion }) => !FOREIGN.test(apiVersion))] as const;
  });

  for (const version of VERSIONS) {
    const checker = createChecker(version);

    for (const [name, objects] of rendered) {
      it(`is known to Kubernetes ${version}, field by field, with ${name}`, () => {
        expect(objects.length).to.be.greaterThan(10);
        for (const object of objects) {
          expect(checker.check(object), `${object.kind}/${object.metadata.name}`).to.deep.equal([]);
        }
      });
    }

    it(`would be found out by ${version}: a field that is not there, one of another type, one that is missing`, () => {
      const [deployment] = renderChart({}).ofKind('Deployment') as readonly [Manifest];
      const spec = deployment.spec as Record<string, unknown>;
      for (const [change, says] of [
        [{ replica: 1 }, `Deployment.spec.replica is unknown to ${version}`],
        [{ replicas: '1' }, 'Deployment.spec.replicas is no integer'],
        [{ selector: undefined }, 'Deployment.spec.selector is missing'],
      ] as const) {
        expect(checker.check({ ...deployment, spec: { ...spec, ...change } })).to.deep.equal([
          says,
        ]);
      }
      expect(checker.check({ apiVersion: 'apps/v2', kind: 'Deployment' })).to.deep.equal([
        `${version} has no apps/v2 Deployment`,
      ]);
    });
  }

  it('would be found out where a field came later, or went', () => {
    const pod = (container: object) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      spec: { containers: [{ name: 'a', ...container }] },
    });
    const later = pod({ lifecycle: { stopSignal: 'SIGTERM' } });
    expect(createChecker('1.32').check(later)).to.have.lengthOf(1);
    expect(createChecker('1.33').check(later)).to.deep.equal([]);
    // What the chart needs of 1.30.
    expect(
      createChecker('1.30').check(pod({ lifecycle: { preStop: { sleep: { seconds: 1 } } } })),
    ).to.deep.equal([]);
  });

  it('is of the kinds whose fields are known here, each of which some values render', () => {
    const kinds = rendered.flatMap(([, objects]) =>
      objects.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`),
    );
    expect([...new Set(kinds)].sort()).to.deep.equal([...KINDS].sort());
  });
});
