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
  action: 'exchange',
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
      '{"kind":"decision","time":"2026-11-22T12:00:00.000Z","correlationId":"id","dialect":"oauth","action":"exchange","outcome":"deny","reason":"role_unknown","toldReason":"no_role"}\n',
    ]);
  });

  it('writes no token, wherever one has strayed to, and returns what it wrote', () => {
    const stream = createStream();
    const failed = { claim: 'aud', got: [TOKEN], want: { nested: TOKEN } };
    const record = createAuditSink(stream).record(
      { ...DECISION, failed, detail: TOKEN, audience: TOKEN, error: new Error(TOKEN) },
      { tokenId: TOKEN },
    );
    keep('audit sink', stream.lines.join(''));
    expect(stream.lines.join('')).not.to.contain(TOKEN.slice(0, 30));
    expect(JSON.parse(stream.lines[0] ?? '')).to.deep.equal({ kind: 'decision', ...record });
    expect(record.failed).to.deep.equal({
      claim: 'aud',
      got: ['[redacted]'],
      want: { nested: '[redacted]' },
    });
  });

  it('leaves thrown errors to the log', () => {
    const stream = createStream();
    createAuditSink(stream).record({ ...DECISION, error: new Error('a cause') });
    expect(stream.lines.join('')).not.to.contain('a cause');
  });

  it('writes lines of kind admin, scrubbed alike', () => {
    const stream = createStream();
    createAuditSink(stream).recordAdmin({
      time: DECISION.time,
      correlationId: 'id',
      outcome: 'allow',
      action: 'create',
      resource: 'roles',
      subject: 'client:ci',
      name: TOKEN,
    });
    keep('audit sink', stream.lines.join(''));
    expect(stream.lines).to.deep.equal([
      '{"kind":"admin","time":"2026-11-22T12:00:00.000Z","correlationId":"id","outcome":"allow","action":"create","resource":"roles","subject":"client:ci","name":"[redacted]"}\n',
    ]);
  });

  it('does not keep up while too much is not written yet', () => {
    const stream = createStream();
    const sink = createAuditSink(stream, 300);
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
