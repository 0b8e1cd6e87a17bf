// The controller as a whole, before an API server and replicas of a broker that are servers on loopback.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { issueAuthority } from '../../common/certificates.ts';
import { type Clock, systemClock } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { type RunningController, startController } from '../../controller/main.ts';
import { readControllerSettings } from '../../controller/settings.ts';
import { keep, noteToken } from '../support/tokens.ts';
import type { FakeApiServer } from './api-server.ts';
import { BROKER_NAME } from './fake-broker.ts';

export const CONTROL_TOKEN = 'the-controllers-token-for-the-broker';

export const authority = issueAuthority({
  commonName: 'controller tests',
  notBefore: new Date('2026-01-01'),
  notAfter: new Date('2099-01-01'),
});

export interface StartedController extends RunningController {
  /** What was logged so far. */
  logs(): string;
  metrics(): Promise<string>;
}

export interface Around {
  readonly api: FakeApiServer;
  /** Where replicas are looked for: `127.0.0.1:1234`; the URL alone unless set. */
  readonly brokers?: string;
  readonly name?: string;
  readonly clock?: Clock;
  readonly environment?: Readonly<Record<string, string>>;
}

export async function start(around: Around): Promise<StartedController> {
  const { api, brokers, name = 'a', clock = systemClock } = around;
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-controller-'));
  const toFile = (file: string, text: string) => {
    writeFileSync(path.join(folder, file), text);
    return path.join(folder, file);
  };
  const settings = readControllerSettings({
    environment: {
      COATCHECK_BROKER_URL: `https://${BROKER_NAME}`,
      ...(brokers !== undefined && { COATCHECK_BROKERS_SERVICE: brokers }),
      COATCHECK_BROKER_CA_FILE: toFile('ca.crt', authority.certificate),
      COATCHECK_TOKEN_FILE: toFile('token', noteToken(CONTROL_TOKEN)),
      COATCHECK_API_SERVER_URL: api.url,
      COATCHECK_API_SERVER_CA_FILE: api.caFile,
      COATCHECK_API_SERVER_TOKEN_FILE: api.tokenFile,
      COATCHECK_NAMESPACE: 'product',
      COATCHECK_IDENTITY: name,
      COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
      ...around.environment,
    },
  });
  let text = '';
  const stream = {
    write: (line: string) => {
      text += line;
    },
  };
  const log = createLogger({ level: 'debug', process: 'controller', stream });
  const controller = await startController({
    settings,
    clock,
    steadyClock: clock,
    random: () => 0.5,
    newId: () => 'random',
    log,
  });
  return {
    ...controller,
    logs: () => text,
    metrics: async () => (await fetch(`${controller.operationsUrl}/metrics`)).text(),
    stop: async () => {
      await controller.stop();
      keep(`controller-${name}.log`, text);
    },
  };
}

/** Resolves as soon as it is so. @throws Error after 5 s */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 5000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`not within 5 s: ${what}`);
    await systemClock.sleep(5);
  }
}
