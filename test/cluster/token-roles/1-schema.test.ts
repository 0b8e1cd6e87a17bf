// Step 1: the CRD. The API server takes its schema without a word, and refuses exactly what the broker would refuse, as
// far as it can: whoever applies a TokenRole hears of a mistake at once.
import { expect } from 'chai';
import { createRoleParser } from '../../../broker/roles/schema.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { waitFor } from '../harness/process.ts';
import { installCrd, TOKEN_ROLES } from './crd.ts';
import { BROKER_ALONE, SPECS } from './documents.ts';

describe('TokenRoles, step 1: what is one', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  before(async function () {
    cluster = openCluster();
    if (!cluster.facts.isOurs) return this.skip();
    await installCrd(cluster);
    return undefined;
  });

  const parse = createRoleParser({ allowOpaque: true });
  const toObject = (spec: object, name = 'tried') => ({
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name },
    spec,
  });
  const askBroker = (object: object) => {
    const parsed = parse(object, 'crd:tried');
    return parsed.ok ? '' : parsed.problems.join('; ');
  };
  const askApiServer = async (object: object) => {
    const path = `${TOKEN_ROLES}?dryRun=All&fieldValidation=Strict`;
    const { status, body } = await cluster.request('POST', path, object);
    return status === 201 ? '' : String(body.message);
  };

  for (const { name, spec, good } of SPECS) {
    it(`${good ? 'takes' : 'refuses'} ${name}, as the broker does`, async () => {
      const object = toObject(spec);
      const [server, broker] = [await askApiServer(object), askBroker(object)];
      const told = `API server: ${server || 'yes'}\nbroker: ${broker || 'yes'}`;
      expect([server === '', broker === ''], told).to.deep.equal([good, good]);
      if (!good) expect(server).to.match(/is invalid|strict decoding error|must be|unmarshal/);
    });
  }
  for (const { name, spec } of BROKER_ALONE) {
    it(`leaves it to the broker to refuse ${name}`, async () => {
      const object = toObject(spec);
      expect(await askApiServer(object)).to.equal('');
      expect(askBroker(object)).to.not.equal('');
    });
  }
  for (const name of ['Payments', 'a_b', '-a', 'a/b']) {
    it(`refuses the name ${name}, as the broker does`, async () => {
      const object = toObject({ audience: 'p', subjects: [{ client: 'ci' }] }, name);
      expect(await askApiServer(object)).to.include('metadata.name');
      expect(askBroker(object)).to.include('metadata.name');
    });
  }

  it('says in words what a subject must be', async () => {
    const object = toObject({ audience: 'p', subjects: [{ namespace: 'shop' }] });
    expect(await askApiServer(object)).to.include('must state serviceAccount too (* for any)');
  });
  it('explains every field to kubectl', async () => {
    const words = "Namespaces of the broker's own cluster by their labels";
    const isExplained = async () =>
      (await cluster.kubectl(['explain', 'trole.spec.subjects.namespaceSelector'])).stdout
        .replace(/\s+/g, ' ')
        .includes(words);
    await waitFor(isExplained, { what: 'the schema to be published' });
  });
  it('lets nobody write a status with the spec, nor a spec with the status', async () => {
    const spec = { audience: 'p', subjects: [{ client: 'ci' }] };
    const name = 'status-apart';
    const status = { observedGeneration: 7 };
    const made = await cluster.request('POST', TOKEN_ROLES, { ...toObject(spec, name), status });
    expect(made.body).to.not.have.property('status');
    const put = await cluster.request('PUT', `${TOKEN_ROLES}/${name}/status`, {
      ...made.body,
      spec: { ...spec, audience: 'other' },
      status,
    });
    expect(put.body).to.deep.include({ status, spec: made.body.spec });
    await cluster.request('DELETE', `${TOKEN_ROLES}/${name}`);
  });
});
