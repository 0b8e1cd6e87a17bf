// What the built-in policies allow, row by row, each allow beside its near miss.
import { expect } from 'chai';
import {
  BUILT_IN_POLICIES,
  findNeeds,
  isAllowedByPolicies,
  isBrokerPolicy,
  isWithinPolicies,
  RESOURCES,
  type Resource,
  VERBS,
  type Verb,
} from '../../broker/policies.ts';

describe('built-in policies', () => {
  const uses: readonly [policies: readonly string[], Verb, Resource, expected: boolean][] = [
    [['root'], 'delete', 'keys', true],
    [['Root'], 'delete', 'keys', false],
    [['default'], 'get', 'tokens', false],
    [[], 'get', 'roles', false],
    [['coatcheck:roles:read'], 'get', 'roles', true],
    [['coatcheck:roles:read'], 'list', 'roles', true],
    [['coatcheck:roles:read'], 'create', 'roles', false],
    [['coatcheck:roles:read'], 'update', 'roles', false],
    [['coatcheck:roles:read'], 'delete', 'roles', false],
    [['coatcheck:roles:write'], 'delete', 'roles', true],
    [['coatcheck:roles:write'], 'list', 'roles', true],
    [['coatcheck:roles:write'], 'list', 'tokens', false],
    [['coatcheck:ROLES:write'], 'list', 'roles', false],
    [['coatcheck:*:write'], 'list', 'roles', false],
    [['coatcheck:roles'], 'list', 'roles', false],
    [['payments', 'coatcheck:keys:write'], 'update', 'keys', true],
    [['payments', 'coatcheck:keys:write '], 'update', 'keys', false],
  ];
  for (const [policies, verb, resource, expected] of uses) {
    it(`${expected ? 'let' : 'do not let'} [${policies.join(', ')}] ${verb} ${resource}`, () => {
      expect(isAllowedByPolicies(policies, verb, resource)).to.equal(expected);
    });
  }

  const grants: readonly [own: readonly string[], wanted: string, expected: boolean][] = [
    [['root'], 'root', true],
    [['root'], 'coatcheck:keys:write', true],
    [['root'], 'payments', true],
    [['coatcheck:tokens:write'], 'root', false],
    [['coatcheck:tokens:write'], 'coatcheck:tokens:write', true],
    [['coatcheck:tokens:write'], 'coatcheck:tokens:read', true],
    [['coatcheck:tokens:read'], 'coatcheck:tokens:write', false],
    [['coatcheck:tokens:write'], 'coatcheck:roles:read', false],
    [['coatcheck:tokens:write'], 'payments', false],
    [['coatcheck:tokens:write', 'payments'], 'payments', true],
    [['coatcheck:tokens:write'], 'default', false],
    [['coatcheck:tokens:write', 'default'], 'default', true],
    [['coatcheck:undefined:write'], 'coatcheck:future:read', false],
  ];
  for (const [own, wanted, expected] of grants) {
    it(`${expected ? 'let' : 'do not let'} [${own.join(', ')}] hand on ${wanted}`, () => {
      expect(isWithinPolicies(own, wanted)).to.equal(expected);
    });
  }

  it('allow together exactly what their needs say', () => {
    for (const policy of BUILT_IN_POLICIES) {
      const needs = findNeeds(policy) ?? [];
      for (const resource of RESOURCES) {
        for (const verb of VERBS) {
          const isNeeded = needs.some((need) => need.resource === resource && need.verb === verb);
          expect(isAllowedByPolicies([policy], verb, resource), `${policy} ${verb}`).to.equal(
            isNeeded,
          );
        }
      }
    }
  });

  for (const name of ['root', 'ROOT', 'default', 'Coatcheck:roles:read', 'coatcheck:anything']) {
    it(`own the name ${name}`, () => expect(isBrokerPolicy(name)).to.equal(true));
  }
  for (const name of ['payments', 'rooted', 'coatcheck', 'default-deny', 'my:coatcheck:x']) {
    it(`leave the name ${name} to receivers`, () => expect(isBrokerPolicy(name)).to.equal(false));
  }

  it('cannot be counted where they do not exist', () => {
    expect(findNeeds('coatcheck:future:write')).to.equal(undefined);
    expect(findNeeds('Root')).to.equal(undefined);
    expect(findNeeds('payments')).to.equal(undefined);
  });
});
