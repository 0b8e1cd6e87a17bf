// The edges of the injection that no whole pod on file reaches: what is no pod, warnings beyond what the API server passes
// on, mirror pods that ask for nothing, and neighbours that must not be looked at.
import { expect } from 'chai';
import { type Injection, inject } from '../../webhook/inject.ts';
import { SETTINGS } from './golden.ts';

const KEY = `${SETTINGS.prefix}audience`;

function podOf(containers: readonly object[], annotations: object = { [KEY]: 'payments' }): object {
  return { metadata: { annotations }, spec: { restartPolicy: 'Always', containers } };
}

function warningsOf(injection: Injection): readonly string[] {
  if (!injection.ok) throw new TypeError(JSON.stringify(injection.denials));
  return injection.warnings;
}

describe('the injection', () => {
  describe('of what is no pod', () => {
    const rows: readonly (readonly [string, unknown, string])[] = [
      ['nothing', undefined, 'the pod'],
      ['null', null, 'the pod'],
      ['a list', [], 'the pod'],
      ['a text', 'pod', 'the pod'],
      ['metadata that is a list', { metadata: [] }, 'metadata'],
      ['metadata that is a text', { metadata: 'x' }, 'metadata'],
      ['annotations that are a list', { metadata: { annotations: [KEY] } }, 'metadata.annotations'],
      ['annotations that are a text', { metadata: { annotations: KEY } }, 'metadata.annotations'],
    ];
    for (const [title, pod, where] of rows) {
      it(`is denied: ${title}`, () => {
        expect(inject(pod, SETTINGS)).to.deep.equal({
          ok: false,
          denials: [{ code: 'pod_malformed', message: `${where} must be an object` }],
        });
      });
    }

    for (const pod of [{}, { metadata: {} }, { metadata: { annotations: {} } }]) {
      it(`leaves ${JSON.stringify(pod)} alone, which asks for nothing`, () => {
        expect(inject(pod, SETTINGS)).to.deep.equal({ ok: true, operations: [], warnings: [] });
      });
    }
  });

  describe('of a mirror pod', () => {
    const mirror = { 'kubernetes.io/config.mirror': 'abc' };
    const rows: readonly (readonly [string, object, number])[] = [
      ['warns one that asks', { [KEY]: 'payments' }, 1],
      [
        'warns one that asks beside a status',
        { [`${SETTINGS.prefix}status`]: 'x', [KEY]: 'payments' },
        1,
      ],
      ['says nothing where there is only a status', { [`${SETTINGS.prefix}status`]: 'x' }, 0],
      [
        'says nothing where only others have annotations',
        { 'other.example/audience': 'payments' },
        0,
      ],
    ];
    for (const [title, annotations, count] of rows) {
      it(`${title}, and changes nothing`, () => {
        const injection = inject(podOf([{ name: 'app' }], { ...mirror, ...annotations }), SETTINGS);
        expect(injection.ok && injection.operations).to.deep.equal([]);
        expect(warningsOf(injection)).to.have.length(count);
      });
    }
  });

  describe('with many warnings', () => {
    const own = (i: number) => ({ name: `app-${i}`, env: [{ name: 'AUTH_ISSUER', value: 'x' }] });
    const pod = (count: number) => podOf(Array.from({ length: count }, (_, i) => own(i)));

    it('passes on 16', () => {
      const warnings = warningsOf(inject(pod(16), SETTINGS));
      expect(warnings).to.have.length(16);
      for (const [i, warning] of warnings.entries())
        expect(warning).to.equal(`container app-${i} sets AUTH_ISSUER itself; its own value stays`);
    });

    for (const count of [17, 40]) {
      it(`passes on 15 of ${count} and says how many more there are`, () => {
        const warnings = warningsOf(inject(pod(count), SETTINGS));
        expect(warnings).to.have.length(16);
        expect(warnings[14]).to.include('app-14');
        expect(warnings[15]).to.equal(`and ${count - 15} more warnings of this kind`);
      });
    }

    const linked = (length: number) => {
      const path = `/run/secrets/auth.example.io/${'x'.repeat(60)}`;
      const rest = `container  mounts ${path}; where its image links /var/run to /run, that hides the tokens at ${SETTINGS.mountRoot}`;
      const name = 'n'.repeat(length - rest.length);
      return podOf([{ name, volumeMounts: [{ name: 'data', mountPath: path }] }]);
    };

    it('passes on one of 245 characters whole', () => {
      const [warning] = warningsOf(inject(linked(245), SETTINGS));
      expect(warning).to.have.length(245);
      expect(warning).to.match(/hides the tokens at .*\/auth\.example\.io$/);
    });

    it('cuts one of 246 characters to 245', () => {
      const [warning] = warningsOf(inject(linked(246), SETTINGS));
      expect(warning).to.have.length(245);
      expect(warning).to.match(/auth\.example\.…$/);
    });

    it('says the same thing once', () => {
      const twice = podOf([own(1), { ...own(1), env: [...own(1).env, ...own(1).env] }]);
      expect(new Set(warningsOf(inject(twice, SETTINGS))).size).to.equal(
        warningsOf(inject(twice, SETTINGS)).length,
      );
    });
  });

  it('gives each container the directories of its own audiences, where several have as many', () => {
    const annotations = {
      [KEY]: 'payments,ledger,mail',
      [`${SETTINGS.prefix}containers.payments`]: 'a,c',
      [`${SETTINGS.prefix}containers.ledger`]: 'b,c',
      [`${SETTINGS.prefix}containers.mail`]: 'c',
    };
    const pod = podOf([{ name: 'a' }, { name: 'b' }, { name: 'c' }], annotations);
    const injection = inject(pod, SETTINGS);
    const mounted = (i: number) =>
      injection.ok &&
      injection.operations.flatMap(({ path, value }) =>
        path.startsWith(`/spec/containers/${i}/volumeMounts`) ? [value].flat() : [],
      );
    const at = (name?: string) => ({
      name: 'coatcheck-tokens',
      mountPath: name ? `${SETTINGS.mountRoot}/${name}` : SETTINGS.mountRoot,
      readOnly: true,
      ...(name && { subPath: name }),
    });
    expect(mounted(0)).to.deep.equal([at('payments')]);
    expect(mounted(1)).to.deep.equal([at('ledger')]);
    expect(mounted(2)).to.deep.equal([at()]);
  });

  describe('beside containers that get no token', () => {
    const helper = (mountPath: string) => ({
      name: 'istio-proxy',
      volumeMounts: [{ name: 'coatcheck-tokens', mountPath }],
    });

    it('denies them a mount of the tokens', () => {
      const injection = inject(podOf([{ name: 'app' }, helper('/mine')]), SETTINGS);
      expect(injection.ok).to.equal(false);
    });

    it('lets them mount what is their own', () => {
      const other = { ...helper('/mine'), volumeMounts: [{ name: 'data', mountPath: '/mine' }] };
      expect(inject(podOf([{ name: 'app' }, other]), SETTINGS).ok).to.equal(true);
    });
  });
});
