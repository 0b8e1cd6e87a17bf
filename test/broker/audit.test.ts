// The audit sink by itself: whole lines, only the listed fields, nothing that looks like a token, and its bound.
import { expect } from 'chai';
import { createAuditSink } from '../../broker/audit.ts';
import type { Decision } from '../../broker/authorize.ts';
import { keep, noteToken } from '../support/tokens.ts';

const TOKEN = noteToken(
  'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhdWRpdC10ZXN0In0.c2lnbmF0dXJlLW9mLXRoZS1hdWRpdC10ZXN0',
);
const DECISION: Decision = {
  id: 'id',
  time: '2026-11-22T12:00:00.000Z',
  dialect: 'oauth',
  outcome: 'deny',
  reason: 'role_unknown',
  tried: [],
};

function createStream() {
  const lines: string[] = [];
  let written = 0;
  return {
    lines,
    written: (bytes: number) => {
      written += bytes;
    },
    write: (line: string) => lines.push(line),
    pendingBytes: () => Buffer.byteLength(lines.join('')) - written,
  };
}

describe('audit sink', () => {
  it('writes one line of JSON per decision, without what does not apply', () => {
    const stream = createStream();
    createAuditSink(stream).record(DECISION);
    expect(stream.lines).to.deep.equal([
      '{"kind":"decision","time":"2026-11-22T12:00:00.000Z","correlationId":"id","dialect":"oauth","outcome":"deny","reason":"role_unknown"}\n',
    ]);
  });

  it('writes no token, wherever one has strayed to', () => {
    const stream = createStream();
    const failed = { claim: 'aud', got: [TOKEN], want: { nested: TOKEN } };
    createAuditSink(stream).record(
      { ...DECISION, failed, detail: TOKEN, audience: TOKEN, error: new Error(TOKEN) },
      TOKEN,
    );
    keep('audit sink', stream.lines.join(''));
    expect(stream.lines.join('')).not.to.contain(TOKEN.slice(0, 30));
    expect(JSON.parse(stream.lines[0] ?? '')).to.deep.include({
      got: ['[redacted]'],
      want: { nested: '[redacted]' },
    });
  });

  it('leaves details and thrown errors to the log', () => {
    const stream = createStream();
    createAuditSink(stream).record({
      ...DECISION,
      detail: 'a detail',
      error: new Error('a cause'),
    });
    expect(stream.lines.join('')).not.to.match(/a detail|a cause/);
  });

  it('names at most twenty of the roles tried, and none for an allowed request', () => {
    const tried = Array.from({ length: 30 }, (_, i) => ({
      role: `role-${i}`,
      ok: false,
      failed: { claim: 'x', got: 1, want: 2 },
      subjects: [],
    }));
    const stream = createStream();
    const sink = createAuditSink(stream);
    sink.record({ ...DECISION, tried });
    sink.record({ ...DECISION, outcome: 'allow', tried });
    const [denied, allowed] = stream.lines.map((line) => JSON.parse(line) as { tried?: unknown[] });
    expect(denied?.tried).to.have.length(20);
    expect(denied?.tried?.[0]).to.deep.equal({
      role: 'role-0',
      ok: false,
      failed: { claim: 'x', got: 1, want: 2 },
    });
    expect(allowed).not.to.have.any.keys('tried');
  });

  it('does not keep up while too much is not written yet', () => {
    const stream = createStream();
    const sink = createAuditSink(stream, 200);
    sink.record(DECISION);
    const bytes = sink.pendingBytes();
    expect([bytes, sink.isKeepingUp()]).to.deep.equal([stream.pendingBytes(), true]);
    sink.record(DECISION);
    expect(sink.isKeepingUp()).to.equal(false);
    stream.written(bytes);
    expect(sink.isKeepingUp()).to.equal(true);
  });

  it('reports a stream that cannot be flushed', async () => {
    const stream = {
      write: () => true,
      flush: (done: (error?: Error) => void) => done(new Error('EPIPE')),
    };
    const outcome = await createAuditSink(stream)
      .flush()
      .then(
        () => 'flushed',
        (error: Error) => error.message,
      );
    expect(outcome).to.equal('EPIPE');
  });
});
