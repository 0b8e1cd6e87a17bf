// The client of API servers by itself: what it sends, what it believes, how it fails. Reviews through it are in
// test/broker/identity/review.test.ts.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { createKubeClient } from '../../../common/kube/client.ts';
import { KubeError } from '../../../common/kube/error.ts';
import { type FakeApiServer, startApiServer } from '../../support/api-server.ts';

const PATH = '/apis/authentication.k8s.io/v1/tokenreviews';
const BODY = { spec: { token: 'not-a-token', audiences: ['payments'] } };

describe('kube client', () => {
  let server: FakeApiServer;
  beforeEach(async () => {
    server = await startApiServer();
    server.answer = ({ audiences }) => ({ body: { audiences } });
  });
  afterEach(() => server.close());

  const create = (more: Partial<Parameters<typeof createKubeClient>[0]> = {}) =>
    createKubeClient({
      url: server.url,
      caFile: server.caFile,
      tokenFile: server.tokenFile,
      // A busy machine must not be taken for a silent server.
      timeoutMs: 8000,
      ...more,
    });
  const failOf = async (client = create()): Promise<KubeError> => {
    const error = await client.post(PATH, BODY).catch((one: unknown) => one);
    client.close();
    if (error instanceof KubeError) return error;
    throw new Error('it did not fail as it should', { cause: error });
  };

  it('sends JSON with the credential and keeps the connection', async () => {
    const client = create({ url: `${server.url}/` });
    expect(JSON.parse(await client.post(PATH, BODY))).to.deep.equal({ audiences: ['payments'] });
    await client.post(PATH, BODY);
    expect(server.connections).to.equal(1);
    client.close();
  });
  it('says once that the CA is another one, and uses it from then on', async () => {
    let changes = 0;
    const client = create({
      onCaChanged: () => {
        changes += 1;
      },
    });
    await client.post(PATH, BODY);
    server.rotateCa();
    server.writeCa();
    server.closeConnections();
    await client.post(PATH, BODY);
    await client.post(PATH, BODY);
    expect(changes).to.equal(1);
    client.close();
  });
  it('asks again, once, where a kept connection breaks off', async () => {
    const client = create();
    await client.post(PATH, BODY);
    server.breakOff(1);
    await client.post(PATH, BODY);
    expect([server.brokenOff, server.answered.length]).to.deep.equal([1, 2]);
    server.breakOff(9);
    expect(await failOf(client)).to.include({ kind: 'unavailable' });
    expect(server.brokenOff).to.equal(3);
  });
  it('does not ask again where a new connection breaks off', async () => {
    server.breakOff(1);
    expect(await failOf()).to.include({ kind: 'unavailable', message: 'the connection failed' });
    expect(server.brokenOff).to.equal(1);
  });
  it('does not believe the certificate of another name', async () => {
    const url = server.url.replace('127.0.0.1', 'localhost');
    const { kind, cause } = await failOf(create({ url }));
    expect(kind).to.equal('unavailable');
    expect(cause).to.have.property('code', 'ERR_TLS_CERT_ALTNAME_INVALID');
    expect(server.answered).to.deep.equal([]);
  });

  const rows: readonly {
    title: string;
    prepare: () => void;
    kind: string;
    message: RegExp;
    timeoutMs?: number;
  }[] = [
    {
      title: 'a refused credential',
      prepare: () => void server.rotateCredential(),
      kind: 'unauthorized',
      message: /^answered 401$/,
    },
    {
      title: 'a missing right',
      prepare: () => Object.assign(server, { answer: () => ({ status: 403 }) }),
      kind: 'forbidden',
      message: /^answered 403$/,
    },
    {
      title: 'silence',
      prepare: () => server.hold(),
      kind: 'unavailable',
      timeoutMs: 300,
      message: /^no answer within 300 ms$/,
    },
    {
      title: 'too much',
      prepare: () => Object.assign(server, { answer: () => ({ body: 'x'.repeat(300_000) }) }),
      kind: 'unavailable',
      message: /^answered more than 262144 bytes$/,
    },
    {
      title: 'a token file of two lines',
      prepare: () => server.writeCredential('one\ntwo'),
      kind: 'unreadable',
      message: /^the token file holds no token$/,
    },
    {
      title: 'a CA file without a certificate',
      prepare: () => server.writeCa('soon'),
      kind: 'unreadable',
      message: /^the CA file holds no certificate$/,
    },
  ];
  for (const { title, prepare, kind, message, timeoutMs } of rows) {
    it(`fails on ${title} as ${kind}`, async () => {
      prepare();
      const error = await failOf(create({ ...(timeoutMs !== undefined && { timeoutMs }) }));
      expect(error).to.have.property('kind', kind);
      expect(error.message).to.match(message);
    });
  }
  it('fails on a file that is not there', async () => {
    expect(await failOf(create({ tokenFile: '/nowhere/token' }))).to.include({
      kind: 'unreadable',
      message: 'the token file cannot be read (ENOENT)',
    });
  });
  it('fails where nobody listens', async () => {
    await server.close();
    server = await startApiServer();
    const nobody = createServer();
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
    const { port } = nobody.address() as AddressInfo;
    await new Promise((resolve) => nobody.close(resolve));
    const error = await failOf(create({ url: `https://127.0.0.1:${port}` }));
    expect(error).to.include({ kind: 'unavailable', message: 'the connection failed' });
  });
});
