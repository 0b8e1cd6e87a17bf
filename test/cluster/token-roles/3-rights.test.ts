// Step 3: rights. What a real API server answers to access reviews, and a broker that lacks some of its own.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { type AccessReviews, createAccessReviews } from '../../../common/kube/access.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { KubeError } from '../../../common/kube/error.ts';
import { openCluster } from '../harness/cluster.ts';
import { waitFor } from '../harness/process.ts';
import { READ_TOKEN_ROLES, type RoleStage, setRoleStage } from './stage.ts';

const LIST = { verb: 'list', group: 'auth.example.io', resource: 'tokenroles' };

describe('TokenRoles, step 3: rights', function () {
  this.timeout(60_000);
  let stage: RoleStage;
  let client: KubeClient;
  let reviews: AccessReviews;
  before(async function () {
    if (!openCluster().facts.isOurs) return this.skip();
    stage = await setRoleStage();
    const { server, caFile, workFolder } = stage.cluster.facts;
    const tokenFile = path.join(workFolder, 'token-roles-rights.token');
    writeFileSync(tokenFile, await stage.broker.requestCredential());
    client = createKubeClient({ url: server, caFile, tokenFile });
    reviews = createAccessReviews(client);
    return undefined;
  });
  after(async () => {
    client?.close();
    await stage?.clear();
  });

  describe('an API server answers', () => {
    it('what the process itself may do, and what not', async () => {
      expect((await reviews.canI(LIST)).allowed).to.equal(true);
      expect((await reviews.canI({ ...LIST, verb: 'watch' })).allowed).to.equal(true);
      const status = { ...LIST, verb: 'patch', subresource: 'status' };
      expect((await reviews.canI(status)).allowed).to.equal(true);
      for (const no of [
        { ...LIST, verb: 'patch' },
        { ...LIST, verb: 'delete' },
        { ...LIST, group: 'example.io' },
        { verb: 'list', group: '', resource: 'secrets' },
      ]) {
        expect(await reviews.canI(no), JSON.stringify(no)).to.include({ allowed: false });
      }
    });
    it('what others may do, with the reason in the words of RBAC', async () => {
      const groups = ['system:authenticated'];
      const no = await reviews.can({ user: 'jane', groups }, LIST);
      expect(no.allowed).to.equal(false);
      const yes = await reviews.can({ user: 'jane', groups: ['system:masters'] }, LIST);
      expect(yes.allowed).to.equal(true);
      const pods = { verb: 'get', group: '', resource: 'pods', namespace: stage.namespace.name };
      const account = `system:serviceaccount:${stage.namespace.name}:checkout`;
      expect((await reviews.can({ user: account, groups }, pods)).allowed).to.equal(false);
    });
    it('nothing about others without the right to ask, and still about the process itself', async () => {
      await stage.grant([]);
      const isGone = async () => !(await reviews.canI(LIST)).allowed;
      await waitFor(isGone, { what: 'the right to be gone' });
      const error = await reviews.can({ user: 'jane', groups: [] }, LIST).catch((one) => one);
      expect(error).to.be.instanceOf(KubeError);
      expect(error).to.include({ kind: 'forbidden', status: 403 });
      await stage.grant(READ_TOKEN_ROLES);
      await waitFor(async () => !(await isGone()), { what: 'the right to be there again' });
    });
  });

  it('a broker that lacks some says which, counts them, and serves what it can', async () => {
    const subjects = [{ namespace: stage.namespace.name, serviceAccount: 'checkout' }];
    const missing = 'coatcheck_broker_rights_missing';
    expect(await stage.process().readCounter(missing)).to.equal(0);
    await stage.grant(READ_TOKEN_ROLES.filter(({ resources }) => resources[0] === 'tokenroles'));
    const isGone = async () =>
      !(await reviews.canI({ ...LIST, verb: 'patch', subresource: 'status' })).allowed;
    await waitFor(isGone, { what: 'the right to be gone' });
    await stage.restartBroker();
    const isCounted = async () => (await stage.process().readCounter(missing)) === 2;
    await waitFor(isCounted, { what: 'both to be counted' });
    const told = readFileSync(stage.process().log, 'utf8')
      .split('\n')
      .filter((line) => line.includes('the broker lacks a right it needs'))
      .map((line) => (JSON.parse(line) as { right: string }).right);
    expect(told).to.deep.equal([
      'create subjectaccessreviews.authorization.k8s.io',
      'patch tokenroles/status.auth.example.io',
    ]);
    await stage.applyRole('served', { audience: 'served', subjects });
    await stage.waitForOutcome('served', 'none');
    expect((await stage.readStatus('served')).ready).to.equal(undefined);
    await stage.grant(READ_TOKEN_ROLES);
    await stage.restartBroker();
    await stage.waitForReason('served', 'Accepted');
    expect(await stage.process().readCounter(missing)).to.equal(0);
  });
});
