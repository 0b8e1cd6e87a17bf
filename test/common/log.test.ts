// The logger's two defences, by key and by shape, and what must get through them.
import { expect } from 'chai';
import fc from 'fast-check';
import { createLogger, type PlainFact, prepareLine } from '../../common/log.ts';
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

describe('a prepared line', () => {
  const NAMES = ['uid', 'pod', 'count', 'dryRun'] as const;
  type Facts = Partial<Record<(typeof NAMES)[number], PlainFact>>;

  /** What a prepared line writes, and what the logger itself does; their times apart. */
  function write(facts: Facts, level: 'info' | 'debug' = 'info') {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const logger = createLogger({ level: 'info', process: 'test', stream });
    prepareLine(logger, { level, message: 'pod "injected"', names: NAMES })(facts);
    const prepared = lines.splice(0);
    keep('common-log-prepared', prepared.join(''));
    const ordered = Object.fromEntries(NAMES.map((name) => [name, facts[name]]));
    logger[level](ordered, 'pod "injected"');
    const withoutTime = (line: string) =>
      line.replace(/"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/, '"time"');
    return { prepared: prepared.map(withoutTime), usual: lines.map(withoutTime) };
  }

  const rows: { name: string; facts: Facts }[] = [
    { name: 'of all facts', facts: { uid: 'u', pod: 'p', count: 0, dryRun: true } },
    { name: 'of no facts', facts: {} },
    { name: 'whose facts come in another order', facts: { dryRun: false, count: 1, uid: 'u' } },
    { name: 'with quotes and line ends', facts: { pod: 'a"b\\c\nd\u0000' } },
    { name: 'of a number that JSON does not have', facts: { count: Number.NaN } },
    { name: 'with a token in it', facts: { pod: `got ${TOKEN}` } },
  ];
  for (const { name, facts } of rows) {
    it(`is what the logger writes: one ${name}`, () => {
      const { prepared, usual } = write(facts);
      expect(prepared).to.deep.equal(usual).and.have.lengthOf(1);
      expect(prepared[0]).to.include('"time"').and.not.include(TOKEN);
    });
  }

  it('is what the logger writes, whatever the facts', () => {
    const fact = fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean());
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...NAMES), fact), (facts) => {
        const { prepared, usual } = write(facts);
        expect(prepared).to.deep.equal(usual);
      }),
    );
  });

  it('is not written below the logger’s level', () => {
    expect(write({ uid: 'u' }, 'debug')).to.deep.equal({ prepared: [], usual: [] });
  });

  it('follows the level of its logger, and holds what a child is bound to', () => {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const child = createLogger({ level: 'error', process: 'test', stream }).child({ id: 'x' });
    const line = prepareLine(child, { level: 'info', message: 'm', names: NAMES });
    line({ uid: 'unheard' });
    child.level = 'info';
    line({ uid: 'heard' });
    expect(lines).to.have.lengthOf(1);
    expect(JSON.parse(lines[0] ?? '')).to.include({ process: 'test', id: 'x', uid: 'heard' });
  });

  it('has the time of each line, to the millisecond', async () => {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const logger = createLogger({ level: 'info', process: 'test', stream });
    const line = prepareLine(logger, { level: 'info', message: 'm', names: NAMES });
    const before = Date.now();
    line({});
    await new Promise((resolve) => setTimeout(resolve, 5));
    line({});
    const [first = 0, second = 0] = lines.map((one) =>
      Date.parse((JSON.parse(one) as { time: string }).time),
    );
    expect(first).to.be.within(before, Date.now());
    expect(second).to.be.greaterThan(first);
  });

  it('cannot be prepared with the name of a secret', () => {
    const logger = createLogger({ level: 'info', process: 'test', stream: { write: () => true } });
    expect(() =>
      prepareLine(logger, { level: 'info', message: 'm', names: ['password'] }),
    ).to.throw('a log line may not hold password');
  });
});
