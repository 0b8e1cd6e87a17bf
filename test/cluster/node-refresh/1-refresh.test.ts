// Step 1: tokens of 30 seconds, renewed again and again under the eyes of a reader that never rests.
import { expect } from 'chai';
import { decodeJwt } from 'jose';
import { readToken, type SeenToken, toApp } from '../harness/node/app.ts';
import { getContainerStatus, isReady } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { findReport, type Report, toReader } from './reader.ts';
import { type RefreshStage, setRefreshStage } from './stage.ts';

describe('refresh on a node, step 1: a reader that never rests', function () {
  this.timeout(240_000);
  let stage: RefreshStage;
  let first: SeenToken;
  before(async () => {
    stage = await setRefreshStage('refresh');
    const { cluster, toPod, toName } = stage;
    await cluster.apply(
      toPod('reader', { audience: 'brief', spec: { containers: [toReader(cluster.node)] } }),
      toPod('careless', { spec: toCareless(stage) }),
      toPod('app', { audience: 'brief' }),
    );
    await cluster.waitForPod(toName('app'), isReady, 120_000);
    first = await readToken(cluster, toName('app'));
  });
  after(async () => stage?.clear());

  const waitForReport = async (pod: string, is: (report: Report) => boolean) => {
    const { cluster, toName } = stage;
    await cluster.waitForPod(toName(pod), isReady, 120_000);
    let report: Report | undefined;
    const isSo = async () => {
      report = findReport(await cluster.logs(toName(pod)));
      return report !== undefined && is(report);
    };
    await waitFor(isSo, { what: `the reader in ${pod}`, withinMs: 120_000, everyMs: 2000 });
    return report as Report;
  };

  it('sees whole tokens only, that fit token.json and are alive, through two renewals', async () => {
    const { reads, generations, ...wrong } = await waitForReport(
      'reader',
      (report) => report.generations >= 3,
    );
    expect(wrong).to.deep.equal({ half: 0, mismatched: 0, expired: 0, missing: 0 });
    console.log(`      ${reads} reads, ${generations} tokens`);
    expect(reads).to.be.greaterThan(1000);
  });

  it('would have seen halves and others: it does in files that are written in place', async () => {
    const report = await waitForReport(
      'careless',
      ({ half, mismatched }) => half > 0 && mismatched > 0,
    );
    expect(report.half).to.be.lessThan(report.reads);
  });

  it('has a token that is not the first one, and no restart, after more than its life', async () => {
    const { cluster, installation, toName } = stage;
    const { exp = 0, jti } = decodeJwt(first.token);
    await waitFor(async () => Date.now() / 1000 > exp, { what: 'the first token to end' });
    const next = await installation.verify(
      (await readToken(cluster, toName('app'))).token,
      'brief',
    );
    expect(next.jti).to.not.equal(jti);
    expect(next.exp).to.be.greaterThan(Date.now() / 1000);
    // The near miss: the first one is over.
    const error = await installation.verify(first.token, 'brief').catch((thrown: Error) => thrown);
    expect(error).to.have.property('code', 'ERR_JWT_EXPIRED');
    const pod = await cluster.getPod(toName('app'));
    for (const container of ['app', 'coatcheck-exchange'])
      expect(getContainerStatus(pod, container).restartCount, container).to.equal(0);
    const log = await cluster.logs(toName('app', 'coatcheck-exchange'));
    expect(log).to.include('renewing the token');
  });
});

/** The same reader beside a writer that opens, writes and appends, as a careless one would. */
function toCareless({ cluster }: RefreshStage): object {
  const token = (letter: string) =>
    `${letter}.${Buffer.from('{"exp":9999999999}').toString('base64url')}.${letter}`;
  const write = (letter: string) => {
    const [head = '', tail = ''] = [token(letter).slice(0, 10), token(letter).slice(10)];
    return `printf %s '${head}' > token; printf %s '${tail}' >> token; printf '{"access_token":"${token(letter)}"}' > token.json`;
  };
  const files = { name: 'files', mountPath: '/files' };
  return {
    containers: [
      toReader(cluster.node, {
        env: [{ name: 'AUTH_TOKEN_FILE', value: '/files/brief/token' }],
        volumeMounts: [files],
      }),
      toApp(cluster.node, {
        name: 'writer',
        command: [
          'sh',
          '-c',
          `mkdir -p /files/brief/1; cd /files/brief; ln -s 1 ..data; ln -s ..data/token token; cd 1; while :; do ${write('a')}; ${write('b')}; done`,
        ],
        resources: { limits: { cpu: '200m' } },
        volumeMounts: [files],
      }),
    ],
    volumes: [{ name: 'files', emptyDir: {} }],
  };
}
