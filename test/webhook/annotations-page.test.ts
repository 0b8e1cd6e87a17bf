// docs/annotations.md and the code say the same, and every reason for a refusal is met by a golden pod.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { toAudienceName } from '../../common/protocol/audience-name.ts';
import {
  ANNOTATION_KEYS,
  APP_VARIABLES,
  NAMED_ANNOTATION_KEYS,
} from '../../common/protocol/pod.ts';
import { DENIALS } from '../../webhook/errors.ts';
import { DEADLINE_BOUNDS, TOKEN_EXPIRATION_BOUNDS } from '../../webhook/inject-settings.ts';
import { INJECT_TABLE } from '../../webhook/settings.ts';
import { loadGoldenCases } from './golden.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const page = readFileSync(path.join(ROOT, 'docs/annotations.md'), 'utf8');

/** Rows of the table under a heading: the first cell's code words, and the rest. */
function readRows(heading: string): { keys: string[]; rest: string }[] {
  const section = page.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| (`[^|]*) \| (.*) \|$/gm)].map(([, first = '', rest = '']) => ({
    keys: [...first.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
    rest,
  }));
}

describe('docs/annotations.md', () => {
  it('has every annotation there is and no other', () => {
    const expected = [
      ...ANNOTATION_KEYS,
      ...NAMED_ANNOTATION_KEYS.map((key) => `${key}.<name>`),
    ].sort();
    expect(
      readRows('All of them')
        .flatMap(({ keys }) => keys)
        .sort(),
    ).to.deep.equal(expected);
  });

  it('has the bounds and the defaults of the code', () => {
    const find = (key: string) => readRows('All of them').find(({ keys }) => keys[0] === key)?.rest;
    const { min, max } = TOKEN_EXPIRATION_BOUNDS;
    expect(find('token-expiration'))
      .to.include(`${min} to ${max}`)
      .and.include(`\`${INJECT_TABLE.tokenExpirationSeconds.default}\``);
    expect(find('deadline'))
      .to.include(`${DEADLINE_BOUNDS.min} to ${DEADLINE_BOUNDS.max}`)
      .and.include(`\`${INJECT_TABLE.deadlineSeconds.default}\``);
    expect(find('init-order')).to.match(/\| `first`$/);
    expect(INJECT_TABLE.initOrder.default).to.equal('first');
  });

  it('has every code of a refusal, with its meaning', () => {
    const documented = readRows('Refusals').map(({ keys, rest }) => [keys[0], rest]);
    expect(documented).to.deep.equal(
      Object.entries(DENIALS).map(([code, { meaning }]) => [code, meaning]),
    );
  });

  it('has the variables and an example of a name that is right', () => {
    for (const variable of APP_VARIABLES) expect(page).to.include(`| \`${variable}\` |`);
    expect(page).to.include(
      `\`https://api.example.io/v1\` is \`${toAudienceName('https://api.example.io/v1')}\``,
    );
  });
});

describe('the table of refusals', () => {
  it('holds no code that nothing throws', () => {
    const sources = readdirSync(path.join(ROOT, 'webhook'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
      .map((file) => readFileSync(path.join(ROOT, 'webhook', file), 'utf8'))
      .join('\n');
    for (const code of Object.keys(DENIALS)) expect(sources).to.include(`'${code}'`);
  });

  it('is met by a golden pod, code by code', () => {
    const met = loadGoldenCases().flatMap(({ expected }) =>
      expected && 'denials' in expected ? expected.denials.map(({ code }) => code) : [],
    );
    // These two are no fault of a pod: review.test.ts has them.
    const wanted = Object.keys(DENIALS).filter(
      (code) => code !== 'internal' && code !== 'review_malformed',
    );
    expect([...new Set(met)].sort()).to.deep.equal(wanted.sort());
  });
});
