// Every golden case: the patch is the one on file, it applies, the naive checker agrees, and a second pass changes nothing.
import { expect } from 'chai';
import type { Denial } from '../../webhook/errors.ts';
import { inject } from '../../webhook/inject.ts';
import { type Expected, type GoldenCase, loadGoldenCases, saveExpected } from './golden.ts';
import { applyOperations, checkPromises } from './oracle.ts';

const isRewriting = process.env.UPDATE_GOLDEN === '1';

function decide({ pod, settings }: GoldenCase): Expected {
  const injection = inject(pod, settings);
  // Through JSON, as it travels: what JSON drops must not make a difference.
  return JSON.parse(
    JSON.stringify(
      injection.ok
        ? { operations: injection.operations, warnings: injection.warnings }
        : { denials: injection.denials },
    ),
  );
}

function patch(golden: GoldenCase): Extract<Expected, { operations: unknown }> {
  const decided = decide(golden);
  if ('denials' in decided) throw new TypeError('denied');
  return decided;
}

function checkDenial({ message, annotation }: Denial): void {
  expect(message).to.match(/allowed:|must (be|hold)/);
  if (annotation) expect(message).to.include(annotation.slice(0, 40));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there.
  expect(message).to.not.match(/[\u0000-\u001f\u007f]/);
  expect(message.length).to.be.at.most(1200);
}

describe('golden pods', () => {
  const cases = loadGoldenCases();

  it('are many, and are not rewritten in CI', () => {
    expect(cases.length).to.be.at.least(45);
    expect(isRewriting && Boolean(process.env.CI)).to.equal(false);
  });

  it('come out of the policies as well, or say why not', () => {
    for (const { name, modes, why } of cases) {
      if (modes.includes('policy')) {
        expect(modes, name).to.deep.equal(['webhook', 'policy']);
        expect(why, name).to.equal(undefined);
      } else {
        expect(modes, name).to.deep.equal(['webhook']);
        expect(why?.length, name).to.be.greaterThan(20);
      }
    }
    expect(cases.filter(({ modes }) => modes.length === 2)).to.have.length.greaterThan(150);
  });

  for (const golden of cases) {
    describe(golden.name, () => {
      it('comes out as on file', () => {
        const real = decide(golden);
        if (isRewriting) saveExpected(golden, real);
        else expect(real).to.deep.equal(golden.expected);
      });

      it('leaves the pod it was given alone', () => {
        const before = structuredClone(golden.pod);
        decide(golden);
        expect(golden.pod).to.deep.equal(before);
      });

      // What is on file says which tests there are: a suite runs no code of the product while it is loaded.
      const { expected } = golden;
      if (!expected) return;
      if ('denials' in expected) {
        it('names the annotation or the place, and what is allowed', () => {
          const decided = decide(golden);
          if ('denials' in decided) decided.denials.forEach(checkDenial);
        });
        return;
      }

      it('gives warnings that the API server passes on whole', () => {
        const { warnings } = patch(golden);
        for (const warning of warnings) expect(warning.length).to.be.within(1, 245);
      });

      if (expected.operations.length === 0) return;

      it('keeps what the contract promises, says the naive checker', () => {
        const after = applyOperations(golden.pod, patch(golden).operations);
        checkPromises(golden.pod, after, golden.settings);
      });

      it('is left alone by a second pass', () => {
        const after = applyOperations(golden.pod, patch(golden).operations);
        const second = inject(after, golden.settings);
        expect(second.ok && second.operations).to.deep.equal([]);
      });
    });
  }
});
