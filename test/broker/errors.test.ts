// The closed table of reasons in step with docs/errors.md, with the code that throws, and with what renders it.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { OAUTH_ERRORS, renderError } from '../../broker/dialects/oauth/errors.ts';
import { REASONS, type Reason } from '../../broker/errors.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const reasons = Object.keys(REASONS) as Reason[];

interface DocumentedReason {
  readonly reason: string;
  readonly told: string;
  readonly status: number;
  readonly error: string;
  readonly text: string;
}

function readDocumented(): DocumentedReason[] {
  const rows = readFileSync(path.join(ROOT, 'docs/errors.md'), 'utf8').matchAll(
    /^\| `(\w+)` \| `(\w+)` \| (\d{3}) `(\w+)` \| \w+ \| ([^|]+) \|/gm,
  );
  return [...rows].map(([, reason = '', told = '', status, error = '', text = '']) => ({
    reason,
    told,
    status: Number(status),
    error,
    text: text.trim(),
  }));
}

function readSources(): string {
  const files = readdirSync(path.join(ROOT, 'broker'), { recursive: true, encoding: 'utf8' });
  const isTable = (file: string) =>
    file === 'errors.ts' || file === path.join('dialects', 'oauth', 'errors.ts');
  return files
    .filter((file) => file.endsWith('.ts') && !isTable(file))
    .map((file) => readFileSync(path.join(ROOT, 'broker', file), 'utf8'))
    .join('\n');
}

describe('table of reasons', () => {
  const documented = readDocumented();
  const sources = readSources();

  it('has the reasons of docs/errors.md and no others', () => {
    expect(documented.map(({ reason }) => reason)).to.have.members(reasons);
    expect(new Set(documented.map(({ reason }) => reason)).size).to.equal(documented.length);
  });

  for (const reason of reasons) {
    it(`documents ${reason} as it is told`, () => {
      const row = documented.find((one) => one.reason === reason);
      const { group: told, text } = REASONS[reason];
      expect(row).to.deep.equal({ reason, told, ...OAUTH_ERRORS[reason], text });
    });

    it(`has somebody who raises ${reason}`, () => {
      const raised = new RegExp(
        `(BrokerError|refuse|TokenRefused|RequestRefused)\\(\\s*'${reason}'|reason: '${reason}'|[:?] '${reason}'|return '${reason}'|= '${reason}'|\\?\\? '${reason}'`,
      );
      expect(raised.test(sources)).to.equal(true);
    });

    it(`renders ${reason} in OAuth`, () => {
      const rendered = renderError({ reason, correlationId: 'an-id' });
      const body = JSON.parse(rendered.body) as Record<string, unknown>;
      expect(body).to.deep.equal({
        error: OAUTH_ERRORS[reason].error,
        error_description: REASONS[reason].text,
        reason: REASONS[reason].group,
        correlation_id: 'an-id',
      });
      expect(rendered.status).to.equal(OAUTH_ERRORS[reason].status);
    });
  }

  it('shares a text only within a group, and within a group always', () => {
    for (const one of reasons) {
      for (const other of reasons) {
        const isSameGroup = REASONS[one].group === REASONS[other].group;
        expect(REASONS[one].text === REASONS[other].text, `${one} and ${other}`).to.equal(
          isSameGroup,
        );
      }
    }
  });

  it('renders every reason of a group alike, so that callers cannot tell them apart', () => {
    for (const group of new Set(reasons.map((reason) => REASONS[reason].group))) {
      const bodies = reasons
        .filter((reason) => REASONS[reason].group === group)
        .map((reason) => JSON.stringify(renderError({ reason, correlationId: '' })));
      expect(new Set(bodies).size, group).to.equal(1);
    }
  });
});
