// The logger's two defences, by key and by shape, and what must get through them.
import { expect } from 'chai';
import { createLogger } from '../../common/log.ts';
import { Secret } from '../../common/secret.ts';
import { keep, noteToken } from '../support/tokens.ts';

const TOKEN = noteToken('eyJhbGciOiJub25lIn0.eyJzdWIiOiJsb2ctdGVzdCJ9.c2lnbmF0dXJl');
const PASSWORD = noteToken('correct-horse-battery-staple');

function log(write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown> {
  let text = '';
  const stream = {
    write: (line: string) => {
      text += line;
    },
  };
  write(createLogger({ level: 'info', process: 'test', stream }));
  keep('common-log', text);
  return JSON.parse(text) as Record<string, unknown>;
}

describe('the logger', () => {
  it('writes a constant message and the facts as fields of one JSON line', () => {
    const line = log((logger) => logger.info({ pod: 'checkout', count: 2 }, 'pod injected'));
    expect(line).to.deep.include({
      level: 'info',
      process: 'test',
      pod: 'checkout',
      count: 2,
      msg: 'pod injected',
    });
    expect(line.time).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  const censored: { name: string; fields: object; expected: object }[] = [
    { name: 'at the top', fields: { password: PASSWORD }, expected: { password: '[redacted]' } },
    {
      name: 'whatever its type',
      fields: { token: { raw: PASSWORD }, key: [PASSWORD] },
      expected: { token: '[redacted]', key: '[redacted]' },
    },
    {
      name: 'one level down',
      fields: { headers: { authorization: PASSWORD, host: 'a' } },
      expected: { headers: { authorization: '[redacted]', host: 'a' } },
    },
    {
      name: 'three levels down, in a list',
      fields: { a: [{ b: { client_secret: PASSWORD } }] },
      expected: { a: [{ b: { client_secret: '[redacted]' } }] },
    },
  ];
  for (const { name, fields, expected } of censored) {
    it(`censors a secret key ${name}`, () => {
      expect(log((logger) => logger.info(fields, 'x'))).to.deep.include(expected);
    });
  }

  it('censors what an error carries, and keeps its message, stack and cause', () => {
    const error = Object.assign(new Error('no answer', { cause: new Error('refused') }), {
      code: 'ECONNREFUSED',
      subject_token: PASSWORD,
    });
    const { err } = log((logger) => logger.error({ err: error }, 'x')) as {
      err: Record<string, string>;
    };
    expect(err).to.include({
      message: 'no answer: refused',
      code: 'ECONNREFUSED',
      subject_token: '[redacted]',
    });
    expect(err.stack).to.contain('log.test.ts');
  });

  it('censors what a child logger is bound to', () => {
    const line = log((logger) => logger.child({ secret: PASSWORD, id: 'x' }).info('y'));
    expect(line).to.include({ secret: '[redacted]', id: 'x' });
  });

  it('scrubs a token by its shape, under whatever name it came', () => {
    const line = log((logger) => logger.info({ note: `got ${TOKEN}` }, 'x'));
    expect(line.note).to.equal('got [redacted]');
  });

  it('lets what prints itself do so', () => {
    const line = log((logger) =>
      logger.info({ at: new Date(0), hidden: new Secret(PASSWORD) }, 'x'),
    );
    expect(line).to.include({ at: '1970-01-01T00:00:00.000Z', hidden: '[redacted]' });
  });

  it('survives a cycle', () => {
    const cycle: Record<string, unknown> = { name: 'a', token: PASSWORD };
    cycle.self = cycle;
    const line = log((logger) => logger.info({ cycle }, 'x'));
    expect(JSON.stringify(line)).not.to.contain(PASSWORD);
    expect(line.msg).to.equal('x');
  });

  it('leaves the caller’s object as it was', () => {
    const fields = { inner: { password: PASSWORD } };
    log((logger) => logger.info(fields, 'x'));
    expect(fields.inner.password).to.equal(PASSWORD);
  });
});
