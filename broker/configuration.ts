// Everything the broker's process is configured by, read together: settings and the files they name. A start that fails
// says all that is wrong at once, whatever file it is in.
import { readFileSync, statSync } from 'node:fs';
import type { Clock } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import { readSettings, SettingsError, type SettingsSource } from '../common/settings.ts';
import { openTlsFiles, type ReloadingTls } from '../common/tls-files.ts';
import { readBootstrapToken } from './bootstrap.ts';
import { type CaBundle, readCaBundle } from './ca-bundle.ts';
import { type ClustersFile, openClusters } from './clusters-file.ts';
import { type Cluster, ClustersError } from './identity/clusters.ts';
import { openReceivers, type ReceiversFile } from './receivers.ts';
import { BROKER_SETTINGS, type BrokerSettings, findSettingsProblems } from './settings.ts';
import { parseStoreChoice, type StoreChoice } from './store/open.ts';
import { type KeyFolder, openKeyFolder } from './tokens/key-folder.ts';
import { openSealingFolder, type SealingFolder } from './tokens/sealing.ts';

export interface Configuration {
  readonly settings: BrokerSettings;
  readonly clusters: ClustersFile;
  /** One of the two is there. */
  readonly keys: KeyFolder | undefined;
  readonly sealing: SealingFolder | undefined;
  readonly tls: ReloadingTls | undefined;
  readonly caBundle: CaBundle | undefined;
  readonly receivers: ReceiversFile | undefined;
  readonly bootstrapToken: Secret | undefined;
  readonly store: StoreChoice;
}

/** @throws SettingsError with every problem of settings and files; it quotes no value. */
export function readConfiguration(source: SettingsSource, clock: Clock): Configuration {
  const files: {
    -readonly [Name in
      | 'clusters'
      | 'keys'
      | 'sealing'
      | 'tls'
      | 'caBundle'
      | 'receivers'
      | 'bootstrapToken'
      | 'store']?: Configuration[Name];
  } = {};
  const { settings, operands } = readSettings(BROKER_SETTINGS, source, (given) => [
    ...findSettingsProblems(given),
    ...attempt(() => {
      if (given.clustersFile !== undefined)
        files.clusters = openTable(given.clustersFile, given.issuer);
    }),
    ...attempt(() => {
      if (given.rolesPath !== undefined) checkRolesPath(given.rolesPath);
    }),
    ...attempt(() => {
      if (given.signingKeysDir !== undefined) files.keys = openKeys(given.signingKeysDir, clock);
    }),
    ...attempt(() => {
      const { tlsCertFile: certFile, tlsKeyFile: keyFile } = given;
      if (certFile !== undefined && keyFile !== undefined)
        files.tls = openTlsFiles({ certFile, keyFile });
    }),
    ...attempt(() => {
      if (given.caBundleFile !== undefined) files.caBundle = readCaBundle(given.caBundleFile);
    }),
    ...attempt(() => {
      if (given.storeFile !== undefined) files.store = readStoreFile(given.storeFile);
    }),
    ...attempt(() => {
      if (given.keyEncryptionKeysDir === undefined) return;
      files.sealing = openSealing(given.keyEncryptionKeysDir);
      if ((files.store ?? given.store)?.kind === 'none')
        throw new FilesError([
          'COATCHECK_KEY_ENCRYPTION_KEYS_DIR needs a store (COATCHECK_STORE) that keeps the signing keys',
        ]);
    }),
    ...attempt(() => {
      if (given.receiversFile !== undefined) files.receivers = openReceivers(given.receiversFile);
    }),
    ...attempt(() => {
      if (given.bootstrapTokenFile === undefined) return;
      files.bootstrapToken = readBootstrapToken(given.bootstrapTokenFile);
      if ((files.store ?? given.store)?.kind === 'none')
        throw new FilesError([
          'COATCHECK_BOOTSTRAP_TOKEN_FILE needs a store (COATCHECK_STORE): without one nobody remembers that it was taken',
        ]);
    }),
  ]);
  if (operands.length > 0) throw new SettingsError(['coatcheck broker takes flags only']);
  const { clusters, keys, sealing, tls, caBundle, receivers, bootstrapToken } = files;
  if (!clusters || !(keys || sealing))
    throw new TypeError('settings passed their check without the files they name');
  return {
    settings,
    clusters,
    keys,
    sealing,
    tls,
    caBundle,
    receivers,
    bootstrapToken,
    store: files.store ?? settings.store,
  };
}

function attempt(read: () => void): readonly string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof FilesError) return error.problems;
    return [(error as Error).message];
  }
}

class FilesError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** @throws FilesError */
export function readClusters(file: string): readonly Cluster[] {
  return openTable(file).current();
}

function openTable(file: string, issuer?: string): ClustersFile {
  const table = openFile(file);
  const clusters = table.current();
  const own = clusters.find(({ issuers }) => issuer !== undefined && issuers.includes(issuer));
  // Tokens of ours as subjects would live for ever, each exchange prolonging the last.
  if (own)
    throw new FilesError([`${file}: cluster ${own.name} has the issuer of the broker itself`]);
  return table;
}

function openFile(file: string): ClustersFile {
  try {
    return openClusters(file);
  } catch (error) {
    if (error instanceof ClustersError)
      throw new FilesError(error.problems.map((problem) => `${file}: ${problem}`));
    throw error;
  }
}

/** What is in the role files is no obstacle to a start: a broken one is reported, the others serve. */
export function checkRolesPath(path: string): void {
  try {
    statSync(path);
  } catch (error) {
    throw new FilesError([
      `${path}: cannot be read (${toCode(error)}); it must be a folder of role files, or one`,
    ]);
  }
}

function readStoreFile(file: string): StoreChoice {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new FilesError([`${file}: cannot be read (${toCode(error)})`]);
  }
  try {
    return parseStoreChoice(text);
  } catch (error) {
    throw new FilesError([`${file}: ${(error as Error).message}`]);
  }
}

function openKeys(folder: string, clock: Clock): KeyFolder {
  const opened = openKeyFolder(folder, clock);
  if ('problems' in opened) throw new FilesError(opened.problems);
  return opened;
}

function openSealing(folder: string): SealingFolder {
  const opened = openSealingFolder(folder);
  if ('problems' in opened) throw new FilesError(opened.problems);
  return opened;
}

function toCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown';
}
