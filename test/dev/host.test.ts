// Which Host headers the dev server answers, and which addresses it listens on without being asked twice.
import { expect } from 'chai';
import { SettingsError } from '../../common/settings.ts';
import { isOwnHost } from '../../dev/host.ts';
import { readDevSettings } from '../../dev/settings.ts';

const LOOPBACK = { host: '127.0.0.1', port: 8420 };
const ALL = { host: '0.0.0.0', port: 8420 };
const OTHER = { host: '192.0.2.7', port: 8420 };

describe('the Host check of coatcheck dev', () => {
  const rows = [
    { host: '127.0.0.1:8420', listen: LOOPBACK, isOwn: true },
    { host: '127.0.0.1', listen: LOOPBACK, isOwn: true },
    { host: 'localhost:8420', listen: LOOPBACK, isOwn: true },
    { host: 'LOCALHOST:8420', listen: LOOPBACK, isOwn: true },
    { host: '[::1]:8420', listen: LOOPBACK, isOwn: true },
    // A port-forward or an SSH tunnel changes the port.
    { host: 'localhost:9999', listen: LOOPBACK, isOwn: true },
    { host: 'evil.example', listen: LOOPBACK, isOwn: false },
    { host: 'evil.example:8420', listen: LOOPBACK, isOwn: false },
    { host: 'localhost.evil.example:8420', listen: LOOPBACK, isOwn: false },
    { host: '127.0.0.1.evil.example', listen: LOOPBACK, isOwn: false },
    { host: 'localhost@evil.example', listen: LOOPBACK, isOwn: false },
    { host: '192.0.2.7:8420', listen: LOOPBACK, isOwn: false },
    { host: '', listen: LOOPBACK, isOwn: false },
    { host: undefined, listen: LOOPBACK, isOwn: false },
    { host: '192.0.2.7:8420', listen: OTHER, isOwn: true },
    { host: '192.0.2.8:8420', listen: OTHER, isOwn: false },
    { host: '192.0.2.7:8420', listen: ALL, isOwn: true },
    { host: '[2001:db8::1]:8420', listen: ALL, isOwn: true },
    { host: 'evil.example:8420', listen: ALL, isOwn: false },
  ];
  for (const { host, listen, isOwn } of rows) {
    it(`${isOwn ? 'answers' : 'turns away'} ${host ?? 'a request without Host'} when listening on ${listen.host}`, () => {
      expect(isOwnHost(host, listen)).to.equal(isOwn);
    });
  }
});

describe('the flags of coatcheck dev', () => {
  const allowed = [
    { args: [], listen: { host: '127.0.0.1', port: 8420 } },
    { args: ['--listen', 'localhost:1'], listen: { host: 'localhost', port: 1 } },
    { args: ['--listen', '[::1]:0'], listen: { host: '::1', port: 0 } },
    { args: ['--listen', '127.8.9.10:1'], listen: { host: '127.8.9.10', port: 1 } },
    { args: ['--listen', '0.0.0.0:1', '--insecure-listen'], listen: { host: '0.0.0.0', port: 1 } },
  ];
  for (const { args, listen } of allowed) {
    it(`take ${args.join(' ') || 'nothing'}`, () => {
      expect(readDevSettings(args).listen).to.deep.equal(listen);
    });
  }

  const refused = [
    { args: ['--listen', '0.0.0.0:8420'], says: '--listen must be a loopback address' },
    { args: ['--listen', ':8420'], says: '--listen must be a loopback address' },
    { args: ['--listen', '192.0.2.7:8420'], says: '--insecure-listen allows others' },
    { args: ['--listen', '127.evil.example:1'], says: '--listen must be a loopback address' },
    { args: ['--listen', 'nonsense'], says: '--listen must be host:port' },
    { args: ['--stores', 'sqlite:x'], says: '--stores is not a flag of this command' },
    { args: ['extra'], says: 'takes flags only' },
  ];
  for (const { args, says } of refused) {
    it(`refuse ${args.join(' ')}`, () => {
      expect(() => readDevSettings(args)).to.throw(SettingsError, says);
    });
  }

  it('name every problem at once', () => {
    expect(() => readDevSettings(['--listen', '0.0.0.0:1', 'extra']))
      .to.throw(SettingsError)
      .with.property('problems')
      .with.length(2);
  });
});
