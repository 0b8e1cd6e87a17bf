// What `make mutation` counts, and that no file of its areas is forgotten.

import { globSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { PARTS } from '../../scripts/mutation/areas.ts';
import {
  addScores,
  countMutants,
  describe as tell,
  toPercent,
} from '../../scripts/mutation/score.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const AREAS = [
  'webhook/inject*.ts',
  'broker/authorize*.ts',
  'broker/identity/**/*.ts',
  'broker/roles/**/*.ts',
];

const mutant = (status: string) => ({
  mutatorName: 'BooleanLiteral',
  replacement: 'false',
  location: { start: { line: 1, column: 1 } },
  status,
});
const file = (...statuses: readonly string[]) => ({ source: '', mutants: statuses.map(mutant) });

describe('the parts of make mutation', () => {
  for (const name of globSync(AREAS, { cwd: ROOT })) {
    it(`have ${name} once`, () => {
      const found = PARTS.filter(({ mutate }) =>
        mutate.some((glob) => path.matchesGlob(name, glob)),
      );
      expect(found.map((part) => part.name)).to.have.length(1);
    });
  }

  for (const { name, specs } of PARTS) {
    it(`have specs: ${name}`, () => {
      for (const spec of specs) expect(globSync(spec, { cwd: ROOT }), spec).to.not.be.empty;
    });
  }
});

describe('the score', () => {
  const report = {
    files: {
      'a/x.ts': file('Killed', 'Timeout', 'Survived', 'NoCoverage', 'Ignored', 'RuntimeError'),
      'b/y.ts': file('Survived'),
    },
  };

  it('counts what was noticed of what could be', () => {
    const counted = countMutants(report, ['a/*.ts']);
    expect(counted).to.deep.equal({ killed: 2, survived: 1, uncovered: 1, ignored: 2 });
    expect(toPercent(counted)).to.equal(50);
    expect(tell(counted)).to.equal('50.0 % (2 noticed, 1 survived, 1 never run, 2 left out)');
  });

  it('is that of all files of an area', () => {
    const all = addScores([countMutants(report, ['a/*.ts']), countMutants(report, ['b/*.ts'])]);
    expect(all).to.deep.equal({ killed: 2, survived: 2, uncovered: 1, ignored: 2 });
    expect(toPercent(all)).to.equal(40);
  });

  it('is full where nothing could be changed', () => {
    expect(toPercent(countMutants(report, ['c/*.ts']))).to.equal(100);
  });
});
