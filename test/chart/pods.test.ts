// The pods of webhook and broker: Pod Security, probes, stopping in order, placement, who may reach them; and the names and
// labels of everything.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import {
  CHART,
  type Manifest,
  renderChart,
  templateChart,
  toContainer,
  toTemplate,
} from './helm.ts';
import { createCa, toUnusualValues } from './values.ts';

const PROGRAMS = ['webhook', 'broker'] as const;

/** Several brokers have no sqlite file in common. */
const toPart = (program: (typeof PROGRAMS)[number], replicas: number) => ({
  replicas,
  ...(program === 'broker' && { store: { type: 'none' } }),
});

describe('pods from the chart', () => {
  const usual = renderChart({});
  const unusual = renderChart(toUnusualValues(createCa()));

  for (const program of PROGRAMS) {
    const deployment = usual.get('Deployment', `coatcheck-${program}`);
    const other = unusual.get('Deployment', `identity-${program}`);

    it(`of the ${program} pass the level restricted, as whatever user the image or the platform says`, () => {
      expect(toTemplate(deployment).spec.securityContext).to.deep.equal({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
        // Whoever the image says must be able to write the volume.
        ...(program === 'broker' && { fsGroup: 65_532 }),
      });
      expect(toContainer(deployment).securityContext).to.deep.equal({
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        readOnlyRootFilesystem: true,
      });
      expect(toTemplate(other).spec.securityContext).to.deep.equal({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
        runAsUser: 4711,
        fsGroup: 4711,
      });
    });

    it(`of the ${program} run its subcommand and are probed on the operations port`, () => {
      const container = toContainer(deployment);
      expect(container.args).to.deep.equal([program]);
      expect(container).to.not.have.property('command');
      for (const [probe, at] of [
        ['startupProbe', '/livez'],
        ['livenessProbe', '/livez'],
        ['readinessProbe', '/readyz'],
      ] as const) {
        expect(container[probe]).to.deep.include({ httpGet: { path: at, port: 'operations' } });
      }
    });

    it(`of the ${program} have time for the sleep and the drain before they are killed`, () => {
      for (const [one, sleep, drain] of [
        [deployment, 5, program === 'webhook' ? 10 : 20],
        [other, 7, 11],
      ] as const) {
        expect(toContainer(one).lifecycle).to.deep.equal({
          preStop: { sleep: { seconds: sleep } },
        });
        const grace = toTemplate(one).spec.terminationGracePeriodSeconds;
        expect(grace).to.be.greaterThan(sleep + drain);
      }
    });

    it(`of the ${program} have requests and a memory limit`, () => {
      const { requests, limits } = toContainer(deployment).resources as Record<string, object>;
      expect(requests).to.have.all.keys('cpu', 'memory');
      expect(limits).to.have.all.keys('memory');
    });

    it(`of the ${program} spread over nodes, softly, unless values say otherwise`, () => {
      const spread = (one: Manifest) => toTemplate(one).spec.topologySpreadConstraints;
      expect(spread(deployment)).to.deep.equal([
        {
          maxSkew: 1,
          topologyKey: 'kubernetes.io/hostname',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: (deployment.spec as { selector: object }).selector,
        },
      ]);
      expect(spread(other)).to.deep.equal([
        {
          maxSkew: 2,
          topologyKey: 'topology.kubernetes.io/zone',
          whenUnsatisfiable: 'DoNotSchedule',
          // Its own, where it states none.
          labelSelector: (other.spec as { selector: object }).selector,
        },
        {
          maxSkew: 1,
          topologyKey: 'rack',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: { team: 'identity' } },
        },
      ]);
    });

    it(`of the ${program} have everything that the values add`, () => {
      const { metadata, spec } = toTemplate(other);
      expect(metadata.annotations).to.include({ 'example.com/note': 'one' });
      expect(metadata.labels).to.include({ team: 'identity', 'example.com/owner': 'platform' });
      expect(spec).to.deep.include({
        imagePullSecrets: [{ name: 'pull' }],
        nodeSelector: { 'kubernetes.io/os': 'linux' },
        tolerations: [{ key: 'dedicated', operator: 'Exists' }],
        affinity: { nodeAffinity: {} },
        priorityClassName: 'system-cluster-critical',
      });
      expect(toContainer(other).image).to.equal(
        `registry.example/coatcheck@sha256:${'a'.repeat(64)}`,
      );
      expect(toContainer(other).imagePullPolicy).to.equal('Never');
      expect(toContainer(other).resources).to.deep.equal({
        requests: { cpu: '1', memory: '1Gi' },
        limits: { memory: '1Gi' },
      });
    });

    it(`of the ${program} are never replaced before the next one answers`, () => {
      const { strategy } = (program === 'broker' ? other : deployment).spec as { strategy: object };
      expect(strategy).to.deep.equal({
        type: 'RollingUpdate',
        rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
      });
    });

    it(`of the ${program} are told to stand in for one another only where there are several`, () => {
      const budgets = (replicas: number) =>
        renderChart({ [program]: toPart(program, replicas) })
          .ofKind('PodDisruptionBudget')
          .filter(({ metadata }) => metadata.name === `coatcheck-${program}`)
          .map(({ spec }) => (spec as { maxUnavailable: unknown }).maxUnavailable);
      expect(budgets(1)).to.deep.equal([]);
      expect(budgets(2)).to.deep.equal([1]);
    });
  }

  it('are two of the webhook and one of the broker', () => {
    const replicas = PROGRAMS.map(
      (program) =>
        (usual.get('Deployment', `coatcheck-${program}`).spec as { replicas: number }).replicas,
    );
    expect(replicas).to.deep.equal([2, 1]);
  });

  it('of the controller are two, restricted, probed, and see no key', () => {
    const deployment = usual.get('Deployment', 'coatcheck-controller');
    const container = toContainer(deployment);
    expect(deployment.spec).to.deep.include({ replicas: 2 });
    expect(container.args).to.deep.equal(['controller']);
    expect(container.ports).to.deep.equal([
      { name: 'operations', containerPort: 8082, protocol: 'TCP' },
    ]);
    for (const [probe, path] of [
      ['livenessProbe', '/livez'],
      ['readinessProbe', '/readyz'],
    ] as const)
      expect(container[probe]).to.deep.include({ httpGet: { path, port: 'operations' } });
    expect(toTemplate(deployment).spec.securityContext).to.deep.equal({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(container.securityContext).to.deep.equal({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    });
    expect(JSON.stringify(toTemplate(deployment))).to.not.match(/"secret":|signing-keys|-tls/);
    const budgets = (replicas: number) =>
      renderChart({ controller: { replicas } })
        .ofKind('PodDisruptionBudget')
        .filter(({ metadata }) => metadata.name === 'coatcheck-controller');
    expect([budgets(1).length, budgets(2).length]).to.deep.equal([0, 1]);
  });

  it('do not see the signing keys but in the broker', () => {
    const seen = (program: string) =>
      JSON.stringify(toTemplate(usual.get('Deployment', `coatcheck-${program}`)));
    expect(seen('broker')).to.include('"key":"encryption-key"');
    expect(seen('webhook')).to.not.match(/encryption-key|broker[.]key|ca-current/);
    expect(seen('broker')).to.not.match(/webhook[.]key|ca-current/);
  });

  it('get no variables for Services but where the address of the broker is taken from them', () => {
    const links = (values: object, program: string) =>
      toTemplate(renderChart(values).get('Deployment', `coatcheck-${program}`)).spec
        .enableServiceLinks;
    expect(links({}, 'webhook')).to.equal(true);
    expect(links({ exchange: { brokerFallbackAddress: 'none' } }, 'webhook')).to.equal(false);
    expect(links({}, 'broker')).to.equal(false);
  });

  it('cannot be told to wait for themselves', () => {
    const { code, stderr } = templateChart({
      webhook: { podAnnotations: { 'auth.example.io/audience': 'payments' } },
    });
    expect(code).to.not.equal(0);
    expect(stderr).to.include('webhook.podAnnotations: auth.example.io/audience');
  });
});

describe('the admin API from the chart', () => {
  const ports = (values: object) => {
    const container = toContainer(renderChart(values).get('Deployment', 'coatcheck-broker'));
    const listed = container.ports as { name: string; containerPort: number }[];
    return listed.map(({ name, containerPort }) => [name, containerPort]);
  };
  const services = (values: object) =>
    renderChart(values)
      .ofKind('Service')
      .map(({ metadata }) => metadata.name)
      .sort();

  it('is beside the other endpoints unless it is given a port', () => {
    expect(ports({})).to.deep.equal([
      ['https', 8443],
      ['operations', 8081],
    ]);
    expect(services({})).to.deep.equal([
      'coatcheck-broker',
      'coatcheck-broker-replicas',
      'coatcheck-webhook',
    ]);
  });

  it('has, with a port of its own, a Service of its own that leads to the broker’s pods', () => {
    const values = { broker: { adminListen: { port: 8444 } } };
    expect(ports(values)).to.deep.include(['admin', 8444]);
    expect(services(values)).to.deep.equal([
      'coatcheck-admin',
      'coatcheck-broker',
      'coatcheck-broker-replicas',
      'coatcheck-webhook',
    ]);
    const rendered = renderChart(values);
    const spec = (name: string) => rendered.get('Service', name).spec as Record<string, unknown>;
    expect(spec('coatcheck-admin').ports).to.deep.equal([
      { name: 'https', port: 443, targetPort: 'admin', protocol: 'TCP' },
    ]);
    expect(spec('coatcheck-admin').selector).to.deep.equal(spec('coatcheck-broker').selector);
  });
});

describe('network policies from the chart', () => {
  const policy = (values: object, program: string) =>
    renderChart(values).get('NetworkPolicy', `coatcheck-${program}`).spec as {
      policyTypes: string[];
      ingress: object[];
      egress: object[];
    };
  const https = { ports: [{ port: 'https', protocol: 'TCP' }] };

  it('let everyone reach the webhook on its one port, and the webhook nobody', () => {
    const { policyTypes, ingress, egress } = policy({}, 'webhook');
    expect(policyTypes).to.deep.equal(['Ingress', 'Egress']);
    expect(ingress).to.deep.equal([https]);
    // An empty list is stored as none, and would be a difference to what is rendered.
    expect(egress).to.equal(undefined);
  });

  it('let the broker reach DNS and API servers only', () => {
    const { policyTypes, ingress, egress } = policy({}, 'broker');
    expect(policyTypes).to.deep.equal(['Ingress', 'Egress']);
    expect(ingress).to.deep.equal([https]);
    expect(JSON.stringify(egress).match(/"port":\d+/g)).to.deep.equal(
      [53, 53, 5353, 5353, 443, 6443].map((port) => `"port":${port}`),
    );
  });

  it('open the operations port only to whom the values name', () => {
    const from = [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }];
    for (const program of PROGRAMS) {
      expect(policy({ networkPolicy: { metricsFrom: from } }, program).ingress).to.deep.equal([
        https,
        { from, ports: [{ port: 'operations', protocol: 'TCP' }] },
      ]);
    }
  });

  it('let the controller reach DNS, the API server and the broker, where its API is, and nobody the controller', () => {
    const brokers = (values: object) => {
      const { policyTypes, ingress, egress } = policy(values, 'controller');
      expect(policyTypes).to.deep.equal(['Ingress', 'Egress']);
      expect(ingress).to.equal(undefined);
      expect(JSON.stringify(egress).match(/"port":\d+/g)).to.deep.equal(
        [53, 53, 5353, 5353, 443, 6443].map((port) => `"port":${port}`),
      );
      return (egress as { to?: object; ports: object[] }[]).filter(({ to }) => to);
    };
    const [{ ports, to } = { ports: [] }] = brokers({});
    expect(JSON.stringify(to)).to.include('"app.kubernetes.io/component":"broker"');
    expect(ports).to.deep.equal([{ port: 'https', protocol: 'TCP' }]);
    const values = { broker: { adminListen: { port: 8444 } } };
    expect(brokers(values)[0]?.ports).to.deep.equal([{ port: 'admin', protocol: 'TCP' }]);
    // And the broker lets it in there, and nobody else.
    const [, opened] = policy(values, 'broker').ingress as { from: object; ports: object[] }[];
    expect(JSON.stringify(opened?.from)).to.include('"app.kubernetes.io/component":"controller"');
    expect(opened?.ports).to.deep.equal([{ port: 'admin', protocol: 'TCP' }]);
  });

  it('keep the admin API, where it has a port of its own, to whom the values name: nobody at first', () => {
    const without = (values: object) => ({
      certificates: { mode: 'provided' },
      controller: { enabled: false },
      ...values,
    });
    const port = without({ broker: { adminListen: { port: 8444 } } });
    expect(policy(port, 'broker').ingress).to.deep.equal([https]);
    const from = [{ podSelector: { matchLabels: { app: 'ops' } } }];
    expect(
      policy(without({ broker: { adminListen: { port: 8444, from } } }), 'broker').ingress,
    ).to.deep.equal([https, { from, ports: [{ port: 'admin', protocol: 'TCP' }] }]);
    expect(policy({ broker: { adminListen: { from } } }, 'broker').ingress).to.deep.equal([https]);
  });

  it('can be switched off', () => {
    const { ofKind } = renderChart({ networkPolicy: { enabled: false } });
    expect(ofKind('NetworkPolicy')).to.deep.equal([]);
  });
});

describe('names and labels from the chart', () => {
  it('are made of the release, also where its name says coatcheck', () => {
    for (const name of ['coatcheck', 'tokens', 'my-coatcheck']) {
      const { objects } = renderChart({}, { name });
      // The name of a CRD is what it defines.
      const named = objects.filter(({ kind }) => kind !== 'CustomResourceDefinition');
      for (const { metadata } of named) expect(metadata.name).to.match(new RegExp(`^${name}-`));
    }
  });

  it('fit into 63 characters with their last part whole', () => {
    const { objects, ofKind } = renderChart({ fullnameOverride: `a${'-long'.repeat(12)}` });
    for (const { metadata } of objects) expect(metadata.name.length).to.be.at.most(63);
    const services = ofKind('Service').map(({ metadata }) => metadata.name);
    expect(services.map((name) => name.slice(-7))).to.deep.equal(['-broker', 'eplicas', 'webhook']);
    expect(new Set(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).size).to.equal(
      objects.length,
    );
  });

  it('refuse a release whose Services could not be named after it', () => {
    const { code, stderr } = templateChart({}, { name: '1st' });
    expect(code).to.not.equal(0);
    expect(stderr).to.include('set fullnameOverride');
    expect(templateChart({ fullnameOverride: 'first' }, { name: '1st' }).code).to.equal(0);
  });

  it('are in the namespace of the release, or in none', () => {
    const cluster = /^(ClusterRole|ClusterRoleBinding|CustomResource.*|Mutating.*|Validating.*)$/;
    for (const { kind, metadata } of renderChart({}, { namespace: 'elsewhere' }).objects) {
      const wanted = cluster.test(kind) ? undefined : 'elsewhere';
      expect(metadata.namespace, `${kind}/${metadata.name}`).to.equal(wanted);
    }
  });

  it('are the recommended ones, and selectors have only those that never change', () => {
    const { objects, ofKind } = renderChart({ commonLabels: { owner: 'platform' } });
    for (const { metadata } of objects) {
      expect(metadata.labels).to.include({
        'app.kubernetes.io/name': 'coatcheck',
        'app.kubernetes.io/instance': 'coatcheck',
        'app.kubernetes.io/part-of': 'coatcheck',
        'app.kubernetes.io/managed-by': 'Helm',
        owner: 'platform',
      });
    }
    for (const deployment of ofKind('Deployment')) {
      const { selector } = deployment.spec as { selector: { matchLabels: object } };
      expect(selector.matchLabels).to.have.all.keys(
        'app.kubernetes.io/name',
        'app.kubernetes.io/instance',
        'app.kubernetes.io/component',
      );
    }
  });

  it('stay what they are whatever labels the values add', () => {
    const wrong = { 'app.kubernetes.io/instance': 'other', 'app.kubernetes.io/part-of': 'other' };
    const { objects, ofKind } = renderChart({
      commonLabels: wrong,
      webhook: { podLabels: wrong },
      broker: { podLabels: wrong },
    });
    for (const { metadata } of [...objects, ...ofKind('Deployment').map(toTemplate)]) {
      expect(metadata.labels['app.kubernetes.io/instance']).to.equal('coatcheck');
      expect(metadata.labels['app.kubernetes.io/part-of']).to.equal('coatcheck');
    }
  });

  it('carry the version of the package', () => {
    const root = path.join(CHART, '../..');
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    const chart = parse(readFileSync(path.join(CHART, 'Chart.yaml'), 'utf8')) as Manifest;
    expect(chart.appVersion).to.equal(version);
  });
});
