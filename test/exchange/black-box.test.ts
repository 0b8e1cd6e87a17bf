// The exchange as it is shipped, both artefacts, against a real HTTPS server.
import { ARTEFACTS } from './artefacts.ts';
import { initCases } from './init.cases.ts';
import { refreshCases } from './refresh.cases.ts';
import { createDeclarer } from './scenarios.ts';
import { tlsCases } from './tls.cases.ts';

for (const artefact of ARTEFACTS) {
  describe(`exchange, ${artefact.name}`, () => {
    const declare = createDeclarer(artefact);
    for (const { group, cases } of [...initCases, ...tlsCases, ...refreshCases]) {
      describe(group, () => declare(cases));
    }
  });
}
