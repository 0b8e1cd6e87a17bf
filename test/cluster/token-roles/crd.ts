// The CRD of the chart on the cluster under test, applied as a person does.
import path from 'node:path';
import { expect } from 'chai';
import type { Cluster } from '../harness/cluster.ts';
import { waitFor } from '../harness/process.ts';

const FILE = path.join(import.meta.dirname, '../../../charts/coatcheck/files/tokenroles.yaml');
export const TOKEN_ROLES = '/apis/auth.example.io/v1alpha1/tokenroles';
const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tokenroles.auth.example.io';

/** Resolves when the API server serves TokenRoles by the schema of the file, and publishes it to kubectl. */
export async function installCrd(cluster: Cluster): Promise<void> {
  const applied = await cluster.kubectl(['apply', '--validate=strict', '-f', FILE]);
  expect(applied.code, applied.stderr).to.equal(0);
  expect(applied.stderr).to.equal('');
  const isServed = async () => (await cluster.request('GET', TOKEN_ROLES)).status === 200;
  await waitFor(isServed, { what: 'TokenRoles to be served' });
  const { body } = await cluster.request('GET', CRD);
  const { conditions = [] } = body.status as { conditions?: { type: string; status: string }[] };
  const wrong = conditions.filter(({ type }) => type === 'NonStructuralSchema');
  expect(wrong).to.deep.equal([]);
}
