// Step 5: the largest pods. CEL has a budget, and a policy that runs out of it refuses: everything that is served must fit
// with room to spare, and hostile pods must be refused by a rule, before the budget is spent on them.
import { expect } from 'chai';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { SETTINGS } from '../../webhook/golden.ts';
import { isInjected, toPod } from '../api-server/stage.ts';
import { openCluster } from '../harness/cluster.ts';
import { findCode } from './compare.ts';
import { needPolicies, type PolicyStage, setPolicyStage } from './stage.ts';

const AUDIENCES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

describe('policy mode, step 5: size', function () {
  this.timeout(180_000);
  let stage: PolicyStage;
  before(async function () {
    stage = await setPolicyStage(await needPolicies(this, openCluster()), SETTINGS);
  });
  after(() => stage?.clear());

  /** A pod of `count` containers, each with as many variables and mounts as `each` says. */
  function toLarge(count: number, each: number, annotations: Readonly<Record<string, string>>) {
    const numbers = Array.from({ length: each }, (_, i) => i);
    const containers = Array.from({ length: count }, (_, i) => ({
      name: `app-${i}`,
      image: 'registry.example/app:1',
      env: numbers.map((n) => ({ name: `VARIABLE_${n}`, value: 'x'.repeat(100) })),
      volumeMounts: numbers.map((n) => ({ name: 'data', mountPath: `/some/where/data-${n}` })),
    }));
    const volumes = [{ name: 'data', emptyDir: {} }];
    return toPod('large', { annotations, spec: { containers, volumes } }) as unknown as JsonObject;
  }

  const everything = (count: number) => {
    const names = Array.from({ length: count }, (_, i) => `app-${i}`).join(',');
    const lists = AUDIENCES.map((one) => [`auth.example.io/containers.${one}`, names] as const);
    const roles = AUDIENCES.map((one) => [`auth.example.io/role.${one}`, 'reader'] as const);
    return {
      'auth.example.io/audience': AUDIENCES.join(','),
      ...Object.fromEntries([...lists, ...roles]),
    };
  };

  for (const [count, each] of [
    [40, 50],
    [3, 400],
  ] as const) {
    it(`injects ${count} containers with ${each} variables and mounts each, and eight audiences`, async () => {
      const { status, body } = await stage.try(toLarge(count, each, everything(count)));
      expect(status, String(body.message)).to.equal(201);
      expect(isInjected(body)).to.equal(true);
    });
  }

  it('refuses 41 containers', async () => {
    const pod = toLarge(41, 0, { 'auth.example.io/audience': 'a' });
    expect(findCode(await stage.try(pod))).to.equal('needs_webhook');
  });

  const long = 'x,'.repeat(100_000);
  const hostile: readonly (readonly [string, Readonly<Record<string, string>>, string])[] = [
    ['audiences', { audience: long }, 'audience_malformed'],
    ['containers', { audience: 'a', containers: long }, 'containers_malformed'],
    ['a role', { audience: 'a', role: long }, 'role_malformed'],
    ['a mode', { audience: 'a', mode: long }, 'mode_malformed'],
  ];
  for (const [what, annotations, code] of hostile) {
    it(`refuses 200 kB of ${what}`, async () => {
      const given = Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`auth.example.io/${key}`, value]),
      );
      expect(findCode(await stage.try(toLarge(1, 0, given)))).to.equal(code);
    });
  }

  it('refuses thousands of keys', async () => {
    const keys = Array.from({ length: 4000 }, (_, i) => [`auth.example.io/audience.n${i}`, 'a']);
    const answer = await stage.try(toLarge(1, 0, Object.fromEntries(keys)));
    expect(findCode(answer)).to.equal('annotation_unknown');
  });
});
