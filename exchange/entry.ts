// What is bundled and compiled: the exchange as a program of its own (`coatcheck exchange` is the same main).
import { processEnvironment } from '../common/settings.ts';
import { main } from './main.ts';

main(process.argv.slice(2), processEnvironment()).then(
  (code) => process.exit(code),
  () => {
    // The error is not printed: nothing here knows whether it quotes a token.
    process.stderr.write('coatcheck exchange: an unexpected error; this is a bug\n');
    process.exit(1);
  },
);
