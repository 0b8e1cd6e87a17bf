// A certificate and its key in two files: read together, refused where they do not belong together, read again.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { openTlsFiles, readTlsFiles } from '../../common/tls-files.ts';

describe('TLS files', () => {
  const validity = { notBefore: new Date('2026-01-01'), notAfter: new Date('2027-01-01') };
  const authority = issueAuthority({ commonName: 'CA', ...validity });
  const issue = (commonName: string) =>
    issueCertificate({ commonName, names: ['localhost'], ...validity }, authority);
  let folder: string;
  let files: { certFile: string; keyFile: string };
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-tls-'));
    files = { certFile: path.join(folder, 'tls.crt'), keyFile: path.join(folder, 'tls.key') };
    write(issue('one'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function write({ certificate, key }: { certificate: string; key: string }): void {
    writeFileSync(files.certFile, certificate);
    writeFileSync(files.keyFile, key);
  }

  it('gives both texts and the end of the leaf', () => {
    expect(readTlsFiles(files).notAfter).to.equal(validity.notAfter.getTime());
  });

  it('takes a chain, and reads the leaf', () => {
    const leaf = issue('leaf');
    write({ ...leaf, certificate: leaf.certificate + authority.certificate });
    expect(readTlsFiles(files).key).to.equal(leaf.key);
  });

  const broken: readonly { name: string; damage: () => void; message: RegExp }[] = [
    {
      name: 'a key of another certificate',
      damage: () => writeFileSync(files.keyFile, issue('two').key),
      message: /tls\.key: is not the key of the certificate/,
    },
    {
      name: 'a missing file',
      damage: () => rmSync(files.certFile),
      message: /tls\.crt: cannot be read \(ENOENT\)/,
    },
    {
      name: 'a certificate that is none',
      damage: () => writeFileSync(files.certFile, 'hunter2'),
      message: /tls\.crt: must hold a certificate in PEM$/,
    },
    {
      name: 'a key that is none',
      damage: () => writeFileSync(files.keyFile, 'hunter2'),
      message: /tls\.key: must hold an unencrypted private key in PEM$/,
    },
  ];
  for (const { name, damage, message } of broken) {
    it(`refuses ${name}, keeps the old pair, and takes the next good one`, () => {
      const tls = openTlsFiles(files);
      const before = tls.current;
      damage();
      expect(() => tls.reload()).to.throw(message);
      expect(tls.current).to.equal(before);
      const next = issue('next');
      write(next);
      expect(tls.reload()?.cert).to.equal(next.certificate);
      expect(tls.current.key).to.equal(next.key);
    });
  }

  it('says nothing while nothing changed', () => {
    expect(openTlsFiles(files).reload()).to.equal(undefined);
  });
});
