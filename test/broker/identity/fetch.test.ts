// The bounded GET over TLS: only the CA it was given is believed, and half an answer is none.
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { get } from '../../../broker/identity/fetch.ts';
import { issueAuthority, issueCertificate } from '../../../common/certificates.ts';

describe('fetching over TLS', () => {
  const validity = {
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  };
  const authority = issueAuthority({ commonName: 'cluster', ...validity });
  const stranger = issueAuthority({ commonName: 'stranger', ...validity });
  let server: Server;
  let url: string;
  before(async () => {
    const leaf = issueCertificate(
      { commonName: 'api', names: ['127.0.0.1'], ...validity },
      authority,
    );
    server = createServer({ cert: leaf.certificate, key: leaf.key }, (request, response) => {
      if (request.url === '/half') {
        response.writeHead(200, { 'Content-Length': 100 });
        response.write('{"keys":');
        setImmediate(() => response.destroy());
      } else if (request.url === '/slow') {
        response.writeHead(200);
        response.write('{"keys":');
      } else response.end(request.headers.authorization ?? 'none');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('asks no private address where only public ones may be asked, written or looked up', async () => {
    const { port } = new URL(url);
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '10.0.0.1'])
      for (const scheme of ['https', 'http']) {
        const asked = get(`${scheme}://${host}:${port}/`, {
          ca: authority.certificate,
          publicOnly: true,
        });
        const error = await asked.catch((thrown: Error) => thrown);
        expect(String(error), host).to.match(/not one of the public internet|neither https/);
      }
    const trusting = { ca: authority.certificate, publicOnly: false };
    expect(await get(url, trusting)).to.equal('none');
  });

  it('believes the CA it was given', async () => {
    expect(await get(url, { ca: authority.certificate })).to.equal('none');
  });
  it('sends a bearer token only when it was given one', async () => {
    expect(await get(url, { ca: authority.certificate, bearer: 'test-bearer' })).to.equal(
      'Bearer test-bearer',
    );
  });
  const refused: readonly { title: string; ca: string | undefined; message: RegExp }[] = [
    { title: 'another CA', ca: stranger.certificate, message: /certificate|issuer|signature/i },
    {
      title: 'no CA, which means the public ones',
      ca: undefined,
      message: /certificate|issuer|signature/i,
    },
    { title: 'an empty CA file', ca: '', message: /holds no certificate/ },
    {
      title: 'a CA file of something else',
      ca: 'not a certificate',
      message: /holds no certificate/,
    },
  ];
  for (const { title, ca, message } of refused) {
    it(`refuses to ask with ${title}`, async () => {
      const error = await get(url, ca === undefined ? {} : { ca }).catch((one: unknown) => one);
      expect(error).to.be.instanceOf(Error).with.property('message').that.matches(message);
    });
  }
  for (const path of ['/half', '/slow']) {
    it(`fails where the answer stays incomplete (${path})`, async () => {
      const error = await get(`${url}${path}`, { ca: authority.certificate, timeoutMs: 200 }).catch(
        (one: unknown) => one,
      );
      expect(error).to.be.instanceOf(Error);
    });
  }
  it('never asks over http beyond loopback', async () => {
    const error = await get('http://keys.example.com/jwks').catch((one: unknown) => one);
    expect(error)
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/neither https nor loopback/);
  });
});
