// A process of its own for the crash tests: writes tokens through the store, several at a time, and prints the name of
// each as soon as it was acknowledged. It goes on until it is killed.
import { writeSync } from 'node:fs';
import { createDatabaseStore } from '../../../broker/store/database.ts';
import { createSqliteDialect } from '../../../broker/store/dialect-sqlite.ts';
import { systemClock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { sampleToken } from './samples.ts';

const file = process.argv[2] ?? '';
const log = createLogger({ level: 'error', process: 'broker', stream: process.stderr });
const store = createDatabaseStore(createSqliteDialect({ file, clock: systemClock }), {
  clock: systemClock,
  log,
  holder: String(process.pid),
  keepDecisionsSeconds: 3600,
  maxDecisions: 100,
});
await store.start();

async function write(worker: number): Promise<void> {
  for (let i = 0; ; i++) {
    const name = `${process.pid}-${worker}-${i}`;
    await store.tokens.insert(sampleToken(name));
    writeSync(1, `${name}\n`);
    // So that the others have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await Promise.all(Array.from({ length: 8 }, (_, worker) => write(worker)));
