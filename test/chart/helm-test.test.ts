// What `helm test` makes: a pod that the webhook gives a token, and the least role there can be for it, both of a moment.
import { expect } from 'chai';
import { createRoleParser } from '../../broker/roles/schema.ts';
import { readExchangeSettings } from '../../exchange/settings.ts';
import { type Container, type PodSpec, renderChart, toEnvironment } from './helm.ts';
import { createCa, toUnusualValues } from './values.ts';

const isHook = ({ metadata }: { metadata: { annotations?: object } }) =>
  JSON.stringify(metadata.annotations ?? {}).includes('helm.sh/hook"');

describe('helm test', () => {
  const usual = renderChart({}, { withTests: true });
  const unusual = renderChart(
    { ...toUnusualValues(createCa()), broker: { tokenRoles: { enabled: true } } },
    { withTests: true },
  );
  const hooks = usual.objects.filter(isHook);
  const pod = usual.get('Pod', 'coatcheck-test');
  const spec = pod.spec as PodSpec;
  const [container] = spec.containers as readonly [Container];

  it('makes an account, a role and a pod, which are gone when it has passed', () => {
    expect(hooks.map(({ kind, metadata }) => [kind, metadata.name])).to.deep.equal([
      ['ServiceAccount', 'coatcheck-test'],
      ['Pod', 'coatcheck-test'],
      ['TokenRole', 'coatcheck-test'],
    ]);
    for (const { metadata } of hooks) {
      expect(metadata.annotations).to.include({
        'helm.sh/hook': 'test',
        'helm.sh/hook-delete-policy': 'before-hook-creation,hook-succeeded',
      });
    }
    // Account and role first.
    expect(
      hooks.map(({ metadata }) => metadata.annotations?.['helm.sh/hook-weight']),
    ).to.deep.equal(['-1', undefined, '-1']);
  });

  it('gives that account alone one audience that is nobody’s, for a minute, bound to its pod', () => {
    const role = usual.get('TokenRole', 'coatcheck-test');
    expect(role.spec).to.deep.equal({
      audience: 'coatcheck-helm-test',
      subjects: [{ namespace: 'auth', serviceAccount: 'coatcheck-test' }],
      token: { ttl: '1m', maxTtl: '1m' },
    });
    const parsed = createRoleParser()(role, 'chart');
    expect(parsed.ok, JSON.stringify(parsed)).to.equal(true);
    // No role that stays.
    expect(JSON.stringify(usual.ofKind('ConfigMap'))).to.not.include('helm-test');
  });

  it('asks for that audience by the annotation, and for no other', () => {
    const { annotations = {} } = pod.metadata;
    const ours = Object.entries(annotations).filter(([key]) => key.startsWith('auth.example.io/'));
    expect(Object.fromEntries(ours)).to.deep.equal({
      'auth.example.io/audience.test': 'coatcheck-helm-test',
      'auth.example.io/mode': 'init',
    });
    const other = unusual.get('Pod', 'identity-test').metadata.annotations;
    expect(other).to.include({ 'tokens.example.org/audience.test': 'coatcheck-helm-test' });
  });

  it('runs the exchange’s own check, with settings that the exchange takes', () => {
    expect(container.command).to.deep.equal(['/coatcheck-exchange', '--check']);
    expect(container.image).to.match(/^coatcheck-exchange:\d+\.\d+\.\d+$/);
    const settings = readExchangeSettings({
      args: ['--check'],
      environment: toEnvironment(container),
    });
    expect(settings).to.deep.include({
      check: true,
      audiences: [{ name: 'test', audience: 'coatcheck-helm-test' }],
      tokensDir: '/var/run/secrets/auth.example.io',
    });
    const [other] = (unusual.get('Pod', 'identity-test').spec as PodSpec).containers;
    // The kubelet makes one dollar of two.
    expect(other?.command).to.deep.equal([
      '/bin/exchange',
      'price is $$(HOME) or $$$$5',
      '--check',
    ]);
    expect(other?.image).to.equal('registry.example/exchange:v7');
  });

  it('is restricted, and holds no token of the API server’s', () => {
    expect(spec).to.deep.include({ automountServiceAccountToken: false, restartPolicy: 'Never' });
    expect(spec.securityContext).to.include({ runAsNonRoot: true });
    expect(container.securityContext).to.deep.equal({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    });
  });

  for (const [what, values] of [
    ['it is switched off', { helmTest: { enabled: false } }],
    ['the broker reads no TokenRoles', { broker: { tokenRoles: { enabled: false } } }],
    ['the release’s own namespace is excluded', { excludeNamespaces: ['auth'] }],
  ] as const) {
    it(`makes nothing where ${what}`, () => {
      expect(renderChart(values, { withTests: true }).objects.filter(isHook)).to.deep.equal([]);
    });
  }

  it('is made where another namespace is excluded', () => {
    const { objects } = renderChart({ excludeNamespaces: ['kube-system'] }, { withTests: true });
    expect(objects.filter(isHook)).to.have.lengthOf(3);
  });
});
