// The exchange as it is shipped, both artefacts, against a real HTTPS server.
import { ARTEFACTS } from './artefacts.ts';
import { initCases } from './init.cases.ts';
import { declareCases } from './scenarios.ts';

for (const artefact of ARTEFACTS) {
  describe(`exchange, ${artefact.name}`, () => {
    for (const { group, cases } of [...initCases]) {
      describe(group, () => declareCases(artefact, cases));
    }
  });
}
