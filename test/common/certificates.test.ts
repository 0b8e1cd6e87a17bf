import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { listen } from '../../common/http.ts';

const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2099-01-01T00:00:00Z');

describe('certificates', () => {
  const authority = issueAuthority({ commonName: 'Test CA', notBefore, notAfter });

  it('of an authority sign leaves and nothing else', () => {
    const ca = new X509Certificate(authority.certificate);
    expect(ca.ca).to.equal(true);
    expect(ca.subject).to.equal('CN=Test CA');
    expect(ca.verify(ca.publicKey)).to.equal(true);
  });

  it('of a leaf carry its names and times and chain to the authority', () => {
    const leaf = new X509Certificate(
      issueCertificate(
        {
          commonName: 'leaf',
          names: ['broker.ns.svc', '127.0.0.1', '::1'],
          notBefore,
          notAfter,
          organizations: ['system:masters'],
        },
        authority,
      ).certificate,
    );
    const ca = new X509Certificate(authority.certificate);
    expect(leaf.checkIssued(ca)).to.equal(true);
    expect(leaf.verify(ca.publicKey)).to.equal(true);
    expect(leaf.ca).to.equal(false);
    expect(leaf.checkHost('broker.ns.svc')).to.equal('broker.ns.svc');
    expect(leaf.checkHost('other.ns.svc')).to.equal(undefined);
    expect(leaf.checkIP('127.0.0.1')).to.equal('127.0.0.1');
    expect(leaf.checkIP('::1')).not.to.equal(undefined);
    expect(leaf.subject).to.equal('O=system:masters\nCN=leaf');
    expect(leaf.validToDate.toISOString()).to.equal(notAfter.toISOString());
  });

  it('serve TLS that a client with the authority trusts, and one with another does not', async () => {
    const tls = issueCertificate(
      { commonName: 'leaf', names: ['127.0.0.1'], notBefore, notAfter },
      authority,
    );
    const server = await listen((_req, res) => res.end('hi'), {
      address: { host: '127.0.0.1', port: 0 },
      tls: { cert: tls.certificate, key: tls.key },
    });
    const get = (ca: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        request(server.url, { ca, agent: false }, (res) => resolve(res.resume().statusCode))
          .on('error', reject)
          .end();
      });
    expect(await get(authority.certificate)).to.equal(200);
    const other = issueAuthority({ commonName: 'Test CA', notBefore, notAfter });
    const failed = await get(other.certificate).then(
      () => 'answered',
      (error: Error) => error.message,
    );
    expect(failed).to.match(/signature failure|unable to verify|certificate/);
    await server.drain(100);
  });
});
