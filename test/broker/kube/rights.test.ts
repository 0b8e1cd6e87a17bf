// The broker's own rights: each missing one is said once, and again when it comes back; silence is no answer.
import { expect } from 'chai';
import { createRightsCheck, type NeededRight, RIGHTS } from '../../../broker/kube/rights.ts';
import { createAccessReviews } from '../../../common/kube/access.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeAccessServer, startAccessServer } from '../../support/access-reviews.ts';
import { createFakeClock } from '../../support/clock.ts';

describe('rights of the broker', () => {
  let server: FakeAccessServer;
  let client: KubeClient;
  let lines: { msg: string; right?: string; for?: string; level: string }[];
  beforeEach(async () => {
    server = await startAccessServer();
    client = createKubeClient(server);
    lines = [];
  });
  afterEach(async () => {
    client.close();
    await server.close();
  });
  const create = (needed: readonly NeededRight[]) =>
    createRightsCheck({
      access: createAccessReviews(client),
      findNeeded: () => needed,
      clock: createFakeClock(),
      log: createLogger({
        level: 'info',
        process: 'test',
        stream: { write: (line: string) => lines.push(JSON.parse(line) as (typeof lines)[0]) },
      }),
    });
  const ALL: readonly NeededRight[] = Object.values(RIGHTS).flat();

  it('are asked for one by one, as the broker uses them', async () => {
    server.decide = () => true;
    const rights = create(ALL);
    await rights.check();
    expect(rights.missing()).to.deep.equal([]);
    expect(lines).to.deep.equal([]);
    expect(server.asked.map(({ resourceAttributes }) => resourceAttributes)).to.deep.equal([
      { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
      { verb: 'create', group: 'authorization.k8s.io', resource: 'subjectaccessreviews' },
      { verb: 'list', group: 'auth.example.io', resource: 'tokenroles' },
      { verb: 'watch', group: 'auth.example.io', resource: 'tokenroles' },
      { verb: 'patch', group: 'auth.example.io', resource: 'tokenroles', subresource: 'status' },
      { verb: 'list', group: '', resource: 'namespaces' },
      { verb: 'watch', group: '', resource: 'namespaces' },
    ]);
  });
  it('that are missing are told once each, with what they are for', async () => {
    server.decide = ({ resourceAttributes }) => resourceAttributes.group !== 'auth.example.io';
    const rights = create(ALL);
    await rights.check();
    await rights.check();
    expect(rights.missing()).to.deep.equal([
      'list tokenroles.auth.example.io',
      'watch tokenroles.auth.example.io',
      'patch tokenroles/status.auth.example.io',
    ]);
    expect(lines.map((line) => [line.level, line.right, line.for])).to.deep.equal([
      ['warn', 'list tokenroles.auth.example.io', 'reading TokenRoles'],
      ['warn', 'watch tokenroles.auth.example.io', 'following changes of TokenRoles'],
      [
        'warn',
        'patch tokenroles/status.auth.example.io',
        'saying in the status of a TokenRole whether it is in use',
      ],
    ]);
  });
  it('that come back are told, too', async () => {
    const rights = create(RIGHTS.tokenReviews);
    await rights.check();
    expect(rights.missing()).to.deep.equal(['create tokenreviews.authentication.k8s.io']);
    server.decide = () => true;
    await rights.check();
    expect(rights.missing()).to.deep.equal([]);
    expect(lines.at(-1)).to.include({ level: 'info' });
  });
  it('are as they were while the API server does not say, which is told once', async () => {
    const rights = create(RIGHTS.tokenReviews);
    await rights.check();
    server.decide = () => 500;
    await rights.check();
    await rights.check();
    expect(rights.missing()).to.deep.equal(['create tokenreviews.authentication.k8s.io']);
    expect(lines.map(({ msg }) => msg)).to.deep.equal([
      'the broker lacks a right it needs',
      'the rights of the broker could not be checked',
    ]);
  });
});
