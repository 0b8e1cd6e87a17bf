// The signing keys of `coatcheck dev`. In the store they are sealed by a key that everybody knows, and wherever they are
// kept their ids say `dev`: nobody is to take such a token for a real one.
import { createHash } from 'node:crypto';
import type { BrokerOptions } from '../broker/broker.ts';
import type { Store } from '../broker/store/store.ts';
import type { KeyAdmin, KeyReport } from '../broker/tokens/key-admin.ts';
import {
  fixedKeys,
  generateSigningKey,
  type KeySet,
  type KeySource,
  type SigningKey,
} from '../broker/tokens/keys.ts';
import { openSealingFolder } from '../broker/tokens/sealing.ts';
import { createStoredKeys } from '../broker/tokens/stored-keys.ts';
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { Scratch } from './scratch.ts';

const ROTATION_SECONDS = 30 * 86_400;
/** The name says it, in `keys list` and in a real broker's complaint about a database that was a dev broker's. */
const SEALING_NAME = 'dev-no-secret';
// Not a secret, by design: a database of a real broker has keys that this does not open, and the start ends there.
const SEALING_KEY = createHash('sha256').update('coatcheck dev: this key is no secret').digest();

export interface DevKeysOptions {
  readonly scratch: Scratch;
  readonly maxTokenTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the broker is given about keys. Without a store they end with the process. */
export function createDevKeys(
  store: Store | undefined,
  options: DevKeysOptions,
): Pick<BrokerOptions, 'keys' | 'storedKeys' | 'keyAdmin'> {
  if (!store) return { keys: markKeys(fixedKeys(generateSigningKey())) };
  const { scratch, ...around } = options;
  scratch.write(`sealing/${SEALING_NAME}`, SEALING_KEY);
  const sealing = openSealingFolder(scratch.toPath('sealing'));
  if ('problems' in sealing) throw new Error(sealing.problems.join('; '));
  const storedKeys = createStoredKeys({
    ...around,
    store,
    sealing,
    algorithm: 'ES256',
    rotationSeconds: ROTATION_SECONDS,
  });
  return { keys: markKeys(storedKeys), storedKeys, keyAdmin: markReports(storedKeys.admin) };
}

/** Same keys, same object, as the source has it: others cache by it. */
function markKeys(source: KeySource): KeySource {
  let known: { readonly from: KeySet; readonly marked: KeySet } | undefined;
  return {
    current: () => {
      const from = source.current();
      if (known?.from !== from) known = { from, marked: markSet(from) };
      return known.marked;
    },
  };
}

function markSet({ signing, published }: KeySet): KeySet {
  const marked = published.map(markKey);
  return { signing: marked[published.indexOf(signing)] ?? markKey(signing), published: marked };
}

function markKey(key: SigningKey): SigningKey {
  const kid = toDevKid(key.kid);
  return { ...key, kid, publicJwk: { ...key.publicJwk, kid } };
}

function markReports(admin: KeyAdmin): KeyAdmin {
  return {
    source: admin.source,
    list: async () => (await admin.list()).map(markReport),
    rotate: async () => markReport(await admin.rotate()),
    rewrap: admin.rewrap,
  };
}

/** What does not open is somebody else's. */
function markReport(report: KeyReport): KeyReport {
  return report.state === 'unreadable' ? report : { ...report, kid: toDevKid(report.kid) };
}

function toDevKid(kid: string): string {
  return `dev-${kid}`;
}
