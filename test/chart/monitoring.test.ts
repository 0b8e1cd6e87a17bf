// Scraping, alerts and the dashboard: off at first, and every metric that they name is one there is.
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { CHART, type Manifest, renderChart, templateChart, toContainer } from './helm.ts';

const DOCS = path.join(CHART, '../../docs');
const KINDS = ['ServiceMonitor', 'PrometheusRule'];
const ON = { enabled: true };
const POSTGRES = { store: { type: 'postgres', postgres: { secretName: 'db' } } };

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

/** Those of the documents, which other tests hold to the code. */
const KNOWN = new Set(
  [
    'broker.md',
    'operations.md',
    'controller.md',
    'certificates.md',
    'clusters.md',
    'install.md',
  ].flatMap((page) => [
    ...new Set(readFileSync(path.join(DOCS, page), 'utf8').match(/\bcoatcheck_[a-z_]+/g)),
  ]),
);

/** What the operator sets on every target, and our own relabelling. */
const OF_SCRAPES = [
  ...['namespace', 'service', 'pod', 'container', 'endpoint', 'job', 'instance', 'node'],
  'component',
];

/** As the programs declare them. */
function listOwnLabels(): string[] {
  const root = path.join(CHART, '../..');
  const sources = ['broker', 'webhook', 'controller', 'common'].flatMap((program) =>
    globSync('**/*.ts', { cwd: path.join(root, program) }).map((file) =>
      readFileSync(path.join(root, program, file), 'utf8'),
    ),
  );
  return sources.flatMap((text) =>
    [...text.matchAll(/labelNames: \[([^\]]*)\]/g)].flatMap(([, names = '']) =>
      [...names.matchAll(/'(\w+)'/g)].map(([, name = '']) => name),
    ),
  );
}

/** Metrics of ours in a text; a histogram is named by one of its series. */
function findUnknown(text: string): string[] {
  const named = [...text.matchAll(/\bcoatcheck_(?!\()[a-z_]+/g)].map(([name]) =>
    name.replace(/_bucket$/, ''),
  );
  expect(named).not.to.deep.equal([]);
  return named.filter((name) => !KNOWN.has(name));
}

describe('monitoring from the chart', () => {
  const rendered = renderChart({
    monitoring: { serviceMonitor: ON, prometheusRule: ON, dashboard: ON },
  });
  const toAlerts = (rule: Manifest) =>
    (rule.spec as { groups: { rules: Alert[] }[] }).groups.flatMap(({ rules }) => rules);
  const alertsOf = (values: object) =>
    toAlerts(
      renderChart({ ...values, monitoring: { prometheusRule: ON } }).get(
        'PrometheusRule',
        'coatcheck-alerts',
      ),
    );
  const alerts = toAlerts(rendered.get('PrometheusRule', 'coatcheck-alerts'));

  it('is off at first: the cluster may not know the kinds', () => {
    const { objects } = renderChart({});
    expect(objects.filter(({ kind }) => KINDS.includes(kind))).to.deep.equal([]);
    expect(JSON.stringify(objects)).to.not.match(/grafana|coatcheck-metrics/);
  });

  it('scrapes the operations port of every process, by a Service of its own', () => {
    const service = rendered.get('Service', 'coatcheck-metrics');
    const { selector, ports, ...spec } = service.spec as {
      selector: Record<string, string>;
      ports: { name: string; targetPort: string }[];
    };
    expect(spec).to.include({ clusterIP: 'None', publishNotReadyAddresses: true });
    for (const deployment of rendered.ofKind('Deployment')) {
      const labels = (deployment.spec as { template: Manifest }).template.metadata.labels;
      expect(labels).to.include(selector);
      const names = (toContainer(deployment).ports as { name: string }[]).map(({ name }) => name);
      expect(names).to.include(ports[0]?.targetPort);
    }
    const monitor = rendered.get('ServiceMonitor', 'coatcheck-metrics').spec as {
      selector: { matchLabels: object };
      endpoints: { port: string; path: string }[];
    };
    expect(service.metadata.labels).to.include(monitor.selector.matchLabels);
    expect(monitor.endpoints[0]).to.include({ port: ports[0]?.name, path: '/metrics' });
  });

  it('keeps our label `cluster` where a scrape sets one, and gives no metric a label that alerts take from the scrape', () => {
    const monitors = rendered
      .ofKind('ServiceMonitor')
      .flatMap(({ spec }) => (spec as { endpoints: { honorLabels?: boolean }[] }).endpoints);
    expect(monitors).not.to.deep.equal([]);
    for (const { honorLabels } of monitors) expect(honorLabels).to.equal(true);
    const labels = listOwnLabels();
    expect(labels).to.include.members(['cluster', 'outcome']);
    expect(labels).to.not.include.oneOf(OF_SCRAPES);
  });

  it('has alerts on metrics that there are, each of this release’s namespace alone', () => {
    expect(alerts.length).to.be.greaterThan(18);
    for (const { alert, expr } of alerts) {
      expect(
        findUnknown(expr.replace(/\{__name__=[^}]*\}/g, 'coatcheck_broker_roles')),
        alert,
      ).to.deep.equal([]);
      const selectors = expr.match(/\{[^}]*\}/g) ?? [];
      expect(selectors, alert).not.to.deep.equal([]);
      for (const selector of selectors) expect(selector, alert).to.include('namespace="auth"');
      expect(expr.match(/[({[]/g)?.length, alert).to.equal(expr.match(/[)}\]]/g)?.length);
    }
  });

  it('has with every alert a sentence, a severity and a link to its heading in docs/operations.md', () => {
    const headings = [
      ...readFileSync(path.join(DOCS, 'operations.md'), 'utf8').matchAll(/^#+ (Coatcheck\w+)$/gm),
    ].map(([, name]) => name);
    expect(new Set(alerts.map(({ alert }) => alert)).size).to.equal(alerts.length);
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).to.match(/^Coatcheck[A-Z][A-Za-z]+$/);
      expect(labels.severity).to.be.oneOf(['critical', 'warning', 'info']);
      expect(annotations.summary, alert).to.match(/^[A-Z].*\.$/);
      expect(annotations.runbook_url).to.equal(`docs/operations.md#${alert.toLowerCase()}`);
      expect(headings).to.include(alert);
    }
  });

  it('has no alerts about what is switched off', () => {
    const names = (values: object) => alertsOf(values).map(({ alert }) => alert);
    expect(names({})).to.include.members(['CoatcheckStoreAway', 'CoatcheckControllerNotLeading']);
    expect(names({ broker: { store: { type: 'none' } } })).to.not.include('CoatcheckStoreAway');
    expect(
      names({ certificates: { mode: 'provided' }, controller: { enabled: false } }),
    ).to.not.include.oneOf(['CoatcheckNoLiveReport', 'CoatcheckControllerNotLeading']);
  });

  it('waits for the end of a certificate as long as its life allows, and names metrics there are', () => {
    const find = (certificates: object) =>
      alertsOf({ certificates }).find((one) => one.alert === 'CoatcheckCertificateExpiring')?.expr;
    expect(find({})).to.match(/< 86400$/);
    expect(find({ mode: 'cert-manager', leafLifetimeSeconds: 172_800 })).to.match(/< 43200$/);
    // Renewed with a third of its life left: a day before the end is before that.
    expect(find({ leafLifetimeSeconds: 86_400 })).to.match(/< 21600$/);
    const names = ['webhook', 'broker'].map(
      (part) => `coatcheck_${part}_certificate_not_after_seconds`,
    );
    expect(findUnknown(names.join(' '))).to.deep.equal([]);
    const [, pattern = ''] = find({})?.match(/__name__=~"([^"]*)"/) ?? [];
    expect(names.filter((name) => new RegExp(`^(${pattern})$`).test(name))).to.deep.equal(names);
  });

  it('sees a key that two clusters share also where that is found but once, at the start', () => {
    const expr = alerts.find(({ alert }) => alert === 'CoatcheckKeyShared')?.expr ?? '';
    const series = String.raw`\{namespace="auth",event="shared_key"\}`;
    expect(expr).to.match(
      new RegExp(`increase\\(\\w+${series}.*or .*> 0 unless .*${series} offset`),
    );
  });

  it('takes as silence of a controller what the broker does', () => {
    const find = (liveSetSeconds: number) =>
      alertsOf({ controller: { liveSetSeconds } }).find((one) => one.alert.includes('LiveReport'))
        ?.expr;
    expect(find(300)).to.match(/> 600$/);
    expect(find(3600)).to.match(/> 7200$/);
  });

  it('leaves out alerts that are not wanted, and refuses what cannot be the name of one', () => {
    const disabled = ['CoatcheckWebhookRefusing'];
    const rest = toAlerts(
      renderChart({ monitoring: { prometheusRule: { ...ON, disabled } } }).get(
        'PrometheusRule',
        'coatcheck-alerts',
      ),
    );
    expect(rest).to.have.lengthOf(alerts.length - 1);
    const { code, stderr } = templateChart({
      monitoring: { prometheusRule: { disabled: ['webhook refusing'] } },
    });
    expect(code).to.not.equal(0);
    expect(stderr).to.include('/monitoring/prometheusRule/disabled/0');
  });

  it('has a dashboard that is JSON, for a side car of Grafana, of metrics there are', () => {
    const { data, metadata } = rendered.get('ConfigMap', 'coatcheck-dashboard');
    expect(metadata.labels).to.include({ grafana_dashboard: '1' });
    const [text = '', ...others] = Object.values(data as Record<string, string>);
    expect(others).to.deep.equal([]);
    const dashboard = JSON.parse(text) as {
      panels: {
        id: number;
        type: string;
        title: string;
        gridPos: { x: number; y: number; w: number; h: number };
        targets?: { expr: string }[];
      }[];
    };
    expect(findUnknown(text)).to.deep.equal([]);
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).to.equal(panels.length);
    for (const { type, title, gridPos, targets = [] } of panels) {
      expect(gridPos.x + gridPos.w, title).to.be.at.most(24);
      if (type !== 'row') expect(targets, title).not.to.deep.equal([]);
      for (const { expr } of targets) expect(expr, title).to.include('namespace="$namespace"');
    }
  });

  it('renders with PostgreSQL and several replicas, too', () => {
    expect(alertsOf({ broker: { ...POSTGRES, replicas: 3 } }).map(({ alert }) => alert)).to.include(
      'CoatcheckStoreAway',
    );
  });
});
