// Times the webhook's pure part in this process: `node bench/load/handler.ts <calls per round>` prints the microseconds a
// call took, one number per round, as a JSON list.

import { readSettings } from '../../common/settings.ts';
import { prepareInjection } from '../../webhook/inject.ts';
import { review } from '../../webhook/review.ts';
import { toText } from '../../webhook/server.ts';
import { INJECT_TABLE, toInjectSettings } from '../../webhook/settings.ts';
import { renderReviews } from '../review.ts';

const ROUNDS = 9;

const calls = Number(process.argv[2] ?? '1000');
const { settings } = readSettings(INJECT_TABLE, {
  environment: {
    COATCHECK_BROKER_URL: 'https://coatcheck-broker.coatcheck.svc',
    COATCHECK_IMAGE: 'registry.example/coatcheck:bench',
  },
});
// As long as a real CA in PEM: it is part of every patch.
const injectSettings = toInjectSettings(
  settings,
  `-----BEGIN CERTIFICATE-----\n${'A'.repeat(560)}\n-----END CERTIFICATE-----\n`,
);
const decide = prepareInjection(injectSettings);
const bodies = renderReviews().map((body) => Buffer.from(body));

function runRound(): number {
  const begin = performance.now();
  let bytes = 0;
  for (let i = 0; i < calls; i++) {
    const body = bodies[i % bodies.length] as Buffer;
    const answer = review(body, injectSettings, decide);
    if (answer.outcome !== 'injected') throw new Error(`the pod was ${answer.outcome}`);
    bytes += Buffer.byteLength(toText(answer.body));
  }
  if (bytes === 0) throw new Error('no answer');
  return ((performance.now() - begin) * 1000) / calls;
}

// The first round is the compiler's.
runRound();
process.stdout.write(JSON.stringify(Array.from({ length: ROUNDS }, runRound)));
