// Where the signing keys of this broker come from: files of a folder, or the store. One of the two, as the settings say.
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { BrokerOptions } from './broker.ts';
import type { Reloads } from './reload.ts';
import type { BrokerSettings } from './settings.ts';
import type { Store } from './store/store.ts';
import { createFolderAdmin } from './tokens/key-admin.ts';
import type { KeyFolder } from './tokens/key-folder.ts';
import type { KeySource } from './tokens/keys.ts';
import type { SealingFolder } from './tokens/sealing.ts';
import { createStoredKeys } from './tokens/stored-keys.ts';

export interface Signing {
  readonly options: Pick<BrokerOptions, 'keys' | 'storedKeys' | 'keyAdmin'>;
  /** What of it rotates on the disk; once the broker has started. */
  addReloads(reloads: Reloads): void;
}

export interface SigningOptions {
  /** Present: these files sign, whatever is in the store. */
  readonly folder: KeyFolder | undefined;
  readonly sealing: SealingFolder | undefined;
  readonly settings: Pick<
    BrokerSettings,
    'signingAlgorithm' | 'signingKeyRotationSeconds' | 'maxTokenTtlSeconds'
  >;
  readonly store: Store | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export function createSigning(given: SigningOptions): Signing {
  const { folder, sealing, store } = given;
  if (folder) return createFolderSigning(folder, given.log);
  if (sealing && store) return createStoreSigning({ ...given, sealing, store });
  throw new TypeError('settings passed their check without a place for signing keys');
}

function createFolderSigning(keys: KeyFolder, log: Logger): Signing {
  return {
    options: { keys, keyAdmin: createFolderAdmin(keys) },
    addReloads: (reloads) => {
      logKeys(log, keys);
      reloads.add('signingKeys', () => {
        const before = keys.current();
        const problems = keys.reload();
        if (keys.current() !== before) logKeys(log, keys);
        return problems;
      });
    },
  };
}

/** By name only. Whoever rotates keys sees here when the new one is published, and when it begins to sign. */
function logKeys(log: Logger, keys: KeySource): void {
  const { signing, published } = keys.current();
  log.info(
    { signingKid: signing.kid, publishedKids: published.map(({ kid }) => kid) },
    'signing keys in use',
  );
}

function createStoreSigning({
  sealing,
  store,
  settings,
  clock,
  log,
}: SigningOptions & { sealing: SealingFolder; store: Store }): Signing {
  const storedKeys = createStoredKeys({
    store,
    sealing,
    algorithm: settings.signingAlgorithm,
    rotationSeconds: settings.signingKeyRotationSeconds,
    maxTokenTtlSeconds: settings.maxTokenTtlSeconds,
    clock,
    log,
  });
  return {
    options: { keys: storedKeys, storedKeys, keyAdmin: storedKeys.admin },
    addReloads: (reloads) => {
      reloads.add('keyEncryptionKeys', () => {
        const before = sealing.generation();
        const problems = sealing.reload();
        if (sealing.generation() !== before) {
          log.info({ newest: sealing.newest() }, 'sealing keys have changed');
          void storedKeys.refresh();
        }
        return problems;
      });
    },
  };
}
