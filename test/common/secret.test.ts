import { inspect } from 'node:util';
import { expect } from 'chai';
import { createLogger } from '../../common/log.ts';
import { isSameSecret, Secret, scrubTokens, tokenFingerprint } from '../../common/secret.ts';

const JWT = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJlLW9mLXRoaXM';

describe('secrets in the process', () => {
  it('print as [redacted] however they are printed', () => {
    const secret = new Secret('hunter2');
    for (const printed of [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ secret }),
      String(secret),
      inspect(secret, { showHidden: true }),
    ]) {
      expect(printed).to.include('[redacted]').and.not.include('hunter2');
    }
    expect(secret.reveal()).to.equal('hunter2');
  });

  it('are named by the first 16 hex of the SHA-256', () => {
    expect(tokenFingerprint('abc')).to.equal('ba7816bf8f01cfea');
  });

  it('are equal only when every byte is', () => {
    expect(isSameSecret('a', 'a')).to.equal(true);
    expect(isSameSecret('a', 'b')).to.equal(false);
    expect(isSameSecret('a', 'aa')).to.equal(false);
  });

  it('are scrubbed from text by their shape, two segments being enough', () => {
    expect(scrubTokens(`x ${JWT} y`)).to.equal('x [redacted] y');
    expect(scrubTokens(`x ${JWT.split('.').slice(0, 2).join('.')} y`)).to.equal('x [redacted] y');
    expect(scrubTokens(`cc_${'a'.repeat(24)}`)).to.equal('[redacted]');
    expect(scrubTokens(`ccs_${'a'.repeat(49)}`)).to.equal('[redacted]');
    expect(scrubTokens(`token=cc_${'a'.repeat(73)}&x`)).to.equal('token=[redacted]&x');
    expect(scrubTokens(`word_cc_${'a'.repeat(73)}`)).to.equal('word_[redacted]');
    expect(scrubTokens('eyes.are.fine and cc_short')).to.equal('eyes.are.fine and cc_short');
  });

  it('never reach a log line: not by key, not inside an error, not in a message', () => {
    const lines: string[] = [];
    const log = createLogger({
      level: 'debug',
      process: 'test',
      stream: { write: (line: string) => void lines.push(line) },
    });
    log.info({ token: 'hunter2', request: { authorization: 'hunter2' } }, 'by key');
    log.error({ err: new Error(`upstream said ${JWT}`, { cause: new Error(JWT) }) }, 'by error');
    log.warn(`by message ${JWT}`);
    const all = lines.join('');
    expect(lines).to.have.length(3);
    expect(all).not.to.include('hunter2').and.not.include(JWT.split('.')[2]);
  });
});
