import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { crossSign, issueAuthority, issueCertificate } from '../../common/certificates.ts';
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

  describe('of an authority that another one vouches for', () => {
    const pathLength = 2;
    const times = { notBefore, notAfter };
    const [first, second, third] = ['first', 'second', 'third'].map((commonName) =>
      issueAuthority({ commonName, pathLength, ...times }),
    ) as [typeof authority, typeof authority, typeof authority];
    const crosses = [
      crossSign(third.certificate, second, { pathLength, ...times }),
      crossSign(second.certificate, first, { pathLength, ...times }),
    ];
    const { certificate: leaf } = issueCertificate(
      { commonName: 'leaf', names: ['broker.ns.svc'], ...times },
      third,
    );

    it('have its name and key, and the signature of the other', () => {
      const [cross, own, signer] = [crosses[0] ?? '', third.certificate, second.certificate].map(
        (pem) => new X509Certificate(pem),
      ) as [X509Certificate, X509Certificate, X509Certificate];
      expect(cross.subject).to.equal(own.subject);
      expect(cross.publicKey.equals(own.publicKey)).to.equal(true);
      expect(cross.checkIssued(signer) && cross.verify(signer.publicKey)).to.equal(true);
      expect(cross.checkIssued(own)).to.equal(false);
      expect(cross.ca).to.equal(true);
      expect(new X509Certificate(leaf).checkIssued(cross)).to.equal(true);
    });

    it('are a path from each of them to the leaf, by OpenSSL at its strictest, and from no stranger', function () {
      if (spawnSync('openssl', ['version']).status !== 0) {
        console.log('\n!!! SKIPPED paths before OpenSSL: there is no openssl here\n');
        return this.skip();
      }
      const folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-paths-'));
      const toFile = (name: string, text: string) => {
        writeFileSync(path.join(folder, name), text);
        return path.join(folder, name);
      };
      const untrusted = toFile('crosses', crosses.join(''));
      const verify = (root: string) =>
        spawnSync('openssl', [
          ...['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname'],
          ...['broker.ns.svc', '-no-CApath', '-no-CAfile', '-no-CAstore'],
          ...['-CAfile', toFile('root', root), '-untrusted', untrusted, toFile('leaf', leaf)],
        ]).status;
      for (const root of [first, second, third]) expect(verify(root.certificate)).to.equal(0);
      expect(verify(authority.certificate)).to.not.equal(0);
      // A chain without its middle leads nowhere.
      toFile('crosses', crosses[1] ?? '');
      expect(verify(first.certificate)).to.not.equal(0);
      rmSync(folder, { recursive: true });
      return undefined;
    });
  });
});
