// What the chart lets each process do in the cluster. The list is written out: it is a promise to whoever installs it, and
// another line in it is a decision.
import { expect } from 'chai';
import { type Manifest, renderChart, toTemplate } from './helm.ts';
import { createCa, toUnusualValues } from './values.ts';

interface Binding extends Manifest {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects: readonly { readonly kind: string; readonly name: string }[];
}

const REVIEWS = [
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
];
const TOKEN_ROLES = [
  { apiGroups: ['auth.example.io'], resources: ['tokenroles'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['auth.example.io'], resources: ['tokenroles/status'], verbs: ['patch'] },
];
const NAMESPACES = [
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch'] },
];
const EVENTS = { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] };
const EVICTIONS = { apiGroups: [''], resources: ['pods/eviction'], verbs: ['create'] };
const SECRET = [
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: ['coatcheck-certificates'],
    verbs: ['get', 'update'],
  },
];
const REGISTRATION = [
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['mutatingwebhookconfigurations'],
    resourceNames: ['coatcheck-webhook'],
    verbs: ['patch'],
  },
];
const GRANTS = [
  {
    to: 'coatcheck-broker',
    role: 'ClusterRole coatcheck-broker',
    rules: [...REVIEWS, ...TOKEN_ROLES],
  },
  // Kubernetes' own: GET of the issuer's public documents.
  {
    to: 'coatcheck-broker',
    role: 'ClusterRole system:service-account-issuer-discovery',
    rules: undefined,
  },
  {
    to: 'coatcheck-controller',
    role: 'ClusterRole coatcheck-certificates',
    rules: REGISTRATION,
  },
  {
    to: 'coatcheck-controller',
    role: 'ClusterRole coatcheck-controller',
    rules: [
      { apiGroups: [''], resources: ['pods', 'serviceaccounts'], verbs: ['get', 'list', 'watch'] },
      EVENTS,
    ],
  },
  { to: 'coatcheck-controller', role: 'Role coatcheck-certificates', rules: SECRET },
  {
    to: 'coatcheck-controller',
    role: 'Role coatcheck-controller',
    rules: [
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
      {
        apiGroups: ['coordination.k8s.io'],
        resources: ['leases'],
        resourceNames: ['coatcheck-controller'],
        verbs: ['get', 'patch'],
      },
    ],
  },
];

/**
 * All that any values may give: the list of the design, `program: resource verbs`. Its right to read the ConfigMap
 * extension-apiserver-authentication is not here: no program reads that yet.
 */
const AT_MOST: readonly string[] = [
  'broker: namespaces get list watch',
  'broker: subjectaccessreviews create',
  'broker: tokenreviews create',
  'broker: tokenroles get list watch',
  'broker: tokenroles/status patch',
  'controller: events create',
  'controller: leases create',
  'controller: leases coatcheck-controller get patch',
  'controller: mutatingwebhookconfigurations coatcheck-webhook patch',
  'controller: pods get list watch',
  'controller: pods/eviction create',
  'controller: secrets coatcheck-certificates get update',
  'controller: serviceaccounts get list watch',
];

describe('rights from the chart', () => {
  const rendered = renderChart({});
  const { objects, ofKind, get } = rendered;

  it('are exactly these', () => {
    const bindings = objects.filter(({ kind }) => kind.endsWith('RoleBinding')) as Binding[];
    const granted = bindings.map(({ roleRef, subjects }) => ({
      to: subjects.map(({ name }) => name).join(),
      role: `${roleRef.kind} ${roleRef.name}`,
      rules: objects.find(
        ({ kind, metadata }) => kind === roleRef.kind && metadata.name === roleRef.name,
      )?.rules,
    }));
    expect(granted).to.deep.equal(GRANTS);
  });

  it('are, with everything switched on, the list of the design and nothing else', () => {
    const all = renderChart({
      broker: { namespaceSelectors: true },
      controller: { evictMissedPods: { enabled: true } },
      monitoring: { serviceMonitor: { enabled: true }, dashboard: { enabled: true } },
      tokenVolumePolicy: { enabled: true },
    });
    const given = (all.objects.filter(({ kind }) => kind.endsWith('RoleBinding')) as Binding[])
      .flatMap(({ roleRef, subjects }) => {
        const role = all.objects.find(
          ({ kind, metadata }) => kind === roleRef.kind && metadata.name === roleRef.name,
        );
        const program = subjects.map(({ name }) => name.replace('coatcheck-', '')).join();
        const rules = (role?.rules ?? []) as Record<string, string[] | undefined>[];
        return rules.flatMap(({ resources = [], resourceNames = [], verbs = [], ...others }) => {
          expect(others).to.have.all.keys('apiGroups');
          return resources.map(
            (one) => `${program}: ${[one, ...resourceNames, ...verbs].join(' ')}`,
          );
        });
      })
      .sort();
    expect(given).to.deep.equal([...AT_MOST].sort());
  });

  it('are in no role that is not bound, and so aggregate into nothing', () => {
    const roles = objects.filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole');
    expect(roles.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).to.deep.equal([
      'ClusterRole coatcheck-broker',
      'ClusterRole coatcheck-certificates',
      'ClusterRole coatcheck-controller',
      'Role coatcheck-certificates',
      'Role coatcheck-controller',
    ]);
    expect(JSON.stringify(roles)).to.not.include('aggregat');
  });

  it('are none for the webhook, which has not even a token', () => {
    const bindings = objects.filter(({ kind }) => kind.endsWith('RoleBinding'));
    expect(bindings).to.have.lengthOf(6);
    expect(JSON.stringify(bindings)).to.not.include('coatcheck-webhook');
    expect(get('ServiceAccount', 'coatcheck-webhook').automountServiceAccountToken).to.equal(false);
    const { spec } = toTemplate(get('Deployment', 'coatcheck-webhook'));
    expect(spec.serviceAccountName).to.equal('coatcheck-webhook');
    expect(spec.automountServiceAccountToken).to.equal(false);
    expect(JSON.stringify(spec.volumes)).to.not.include('serviceAccountToken');
  });

  it('are used by the broker with a token of one hour, and with no other', () => {
    const { spec } = toTemplate(get('Deployment', 'coatcheck-broker'));
    expect(spec.serviceAccountName).to.equal('coatcheck-broker');
    expect(spec.automountServiceAccountToken).to.equal(false);
    const projected = spec.volumes.filter((volume) => 'projected' in volume);
    expect(projected).to.deep.equal([
      {
        name: 'api-access',
        projected: {
          sources: [
            { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
            { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          ],
        },
      },
    ]);
  });

  it('are those of the controller for a token of one hour; the other is for the broker and nothing else', () => {
    const { spec } = toTemplate(get('Deployment', 'coatcheck-controller'));
    expect(spec.automountServiceAccountToken).to.equal(false);
    const tokens = spec.volumes.flatMap(({ projected }) =>
      ((projected as { sources?: { serviceAccountToken?: object }[] } | undefined)?.sources ?? [])
        .map((source) => source.serviceAccountToken)
        .filter((token) => token !== undefined),
    );
    expect(tokens).to.deep.equal([
      { path: 'token', audience: 'coatcheck-control', expirationSeconds: 600 },
      { path: 'token', expirationSeconds: 3600 },
    ]);
  });

  it('go, with everything else of the controller, where it is switched off', () => {
    const without = renderChart({
      certificates: { mode: 'provided' },
      controller: { enabled: false },
    });
    expect(JSON.stringify(without.objects)).to.not.match(
      /coatcheck-controller|broker-replicas|"controller"/,
    );
    expect(without.ofKind('Role')).to.deep.equal([]);
  });

  it('reach no Secret and no registration with certificates of one’s own, and no registration with cert-manager', () => {
    const rightsOf = (mode: string) =>
      renderChart({ certificates: { mode } })
        .objects.filter(({ kind }) => /Role$/.test(kind))
        .map((role) => JSON.stringify(role.rules))
        .join();
    expect(rightsOf('controller')).to.match(/secrets.*mutatingwebhook|mutatingwebhook.*secrets/);
    expect(rightsOf('cert-manager')).to.include('"coatcheck-certificates"');
    expect(rightsOf('cert-manager')).to.not.include('mutatingwebhook');
    expect(rightsOf('provided')).to.not.match(/secrets|mutatingwebhook/);
  });

  it('go to three ServiceAccounts of their own, which nothing else uses', () => {
    const accounts = ofKind('ServiceAccount').map(({ metadata }) => metadata.name);
    const used = ofKind('Deployment').map((one) => toTemplate(one).spec.serviceAccountName);
    expect(accounts.toSorted()).to.deep.equal([
      'coatcheck-broker',
      'coatcheck-controller',
      'coatcheck-webhook',
    ]);
    expect(used.toSorted()).to.deep.equal(accounts.toSorted());
  });

  it('are fewer without TokenRoles, more by namespaces where roles may select them, and not by any other value', () => {
    const rulesOf = (values: object) =>
      renderChart(values)
        .ofKind('ClusterRole')
        .filter(({ metadata }) => metadata.name.endsWith('-broker'))
        .map((role) => role.rules);
    expect(rulesOf({ broker: { tokenRoles: { enabled: false } } })).to.deep.equal([REVIEWS]);
    expect(rulesOf({ broker: { namespaceSelectors: true } })).to.deep.equal([
      [...REVIEWS, ...TOKEN_ROLES, ...NAMESPACES],
    ]);
    expect(rulesOf(toUnusualValues(createCa()))).to.deep.equal([[...REVIEWS, ...NAMESPACES]]);
  });

  it('let the controller evict pods only where that is wished', () => {
    const rulesOf = (values: object) =>
      renderChart(values)
        .ofKind('ClusterRole')
        .filter(({ metadata }) => metadata.name.endsWith('-controller'))
        .flatMap((role) => role.rules as readonly object[]);
    const wished = { controller: { evictMissedPods: { enabled: true } } };
    expect(rulesOf(wished)).to.deep.equal([...rulesOf({}), EVICTIONS]);
    expect(JSON.stringify(objects)).to.not.include('eviction');
  });

  it('give nobody the right to write TokenRoles, which is to grant credentials', () => {
    for (const role of ofKind('ClusterRole')) {
      const rules = role.rules as { resources: string[]; verbs: string[] }[];
      const verbs = rules
        .filter(({ resources }) => resources.includes('tokenroles'))
        .flatMap((rule) => rule.verbs);
      expect(verbs).to.not.include.oneOf(['create', 'update', 'patch', 'delete', '*']);
    }
  });

  it('reach nothing of the node: no host namespaces, paths or ports, no privileges', () => {
    for (const deployment of ofKind('Deployment')) {
      const text = JSON.stringify(deployment);
      for (const word of ['hostPath', 'hostNetwork', 'hostPID', 'hostIPC', 'hostPort'])
        expect(text).to.not.include(word);
      expect(text).to.not.match(/"privileged":|"add":/);
    }
  });
});
