// The files the webhook reads at its start and again whenever they change. Polled by content: that works for a plain file, for
// the kubelet's symlink swap, and on every file system; a change is taken only when it is whole and usable.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { SettingsError } from '../common/settings.ts';
import type { WebhookMetrics } from './metrics.ts';
import type { WebhookSettings } from './settings.ts';

export interface Files {
  /** PEM, the leaf first. */
  readonly cert: string;
  readonly key: string;
  readonly clientCa?: string;
  readonly brokerCa?: string;
}

type FileSettings = Pick<
  WebhookSettings,
  'tlsCertFile' | 'tlsKeyFile' | 'clientCaFile' | 'brokerCaFile'
>;

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g;
// It travels in a variable of every injected pod.
const MAX_BROKER_CA_BYTES = 64 * 1024;
// The exchange takes no more (exchange/trust.ts): a bundle with more would stop every injected pod.
const MAX_BROKER_CA_CERTIFICATES = 16;

interface Serving {
  readonly cert: string;
  readonly key: string;
  readonly clientCa?: string;
}

/** Reads all files. @throws SettingsError that names every setting whose file is missing or unusable. */
export async function readFiles(settings: FileSettings): Promise<Files> {
  const problems: string[] = [];
  const serving = await readServing(settings, problems);
  const brokerCa = await findBrokerCa(settings.brokerCaFile, problems);
  if (problems.length > 0) throw new SettingsError(problems);
  return { ...serving, ...(brokerCa !== undefined && { brokerCa }) };
}

/** What the listener needs; what is wrong goes to `problems`. */
async function readServing(settings: FileSettings, problems: string[]): Promise<Serving> {
  const cert = await readText('COATCHECK_TLS_CERT_FILE', settings.tlsCertFile, problems);
  const key = await readText('COATCHECK_TLS_KEY_FILE', settings.tlsKeyFile, problems);
  const clientCa = await readText('COATCHECK_CLIENT_CA_FILE', settings.clientCaFile, problems);
  if (cert !== '' && key !== '') problems.push(...findPairProblems(cert, key));
  if (clientCa !== '' && findCertificates(clientCa).length === 0)
    problems.push('COATCHECK_CLIENT_CA_FILE must hold PEM certificates');
  return { cert, key, ...(clientCa !== '' && { clientCa }) };
}

function findCertificates(pem: string): readonly string[] {
  return (pem.match(CERTIFICATE) ?? [])
    .map((one) => one.replaceAll('\r\n', '\n'))
    .filter(isCertificate);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function findPairProblems(cert: string, key: string): readonly string[] {
  const [leaf] = findCertificates(cert);
  if (leaf === undefined) return ['COATCHECK_TLS_CERT_FILE must hold PEM certificates'];
  try {
    const isPair = new X509Certificate(leaf).checkPrivateKey(createPrivateKey(key));
    return isPair
      ? []
      : ['COATCHECK_TLS_KEY_FILE must hold the key of the certificate in COATCHECK_TLS_CERT_FILE'];
  } catch {
    // The library's message may quote what it could not read.
    return ['COATCHECK_TLS_KEY_FILE must hold a PEM private key'];
  }
}

/** The authorities in a file as they are injected; what is wrong goes to `problems`. */
export async function findBrokerCa(
  file: string | undefined,
  problems: string[],
): Promise<string | undefined> {
  const pem = await readText('COATCHECK_BROKER_CA_FILE', file, problems);
  if (pem === '') return undefined;
  const certificates = findCertificates(pem);
  if (certificates.length === 0)
    problems.push('COATCHECK_BROKER_CA_FILE must hold PEM certificates');
  else if (pem.length > MAX_BROKER_CA_BYTES)
    problems.push('COATCHECK_BROKER_CA_FILE must hold at most 64 KiB');
  else if (certificates.length > MAX_BROKER_CA_CERTIFICATES)
    problems.push(
      `COATCHECK_BROKER_CA_FILE must hold at most ${MAX_BROKER_CA_CERTIFICATES} certificates`,
    );
  // Only the certificates, not what stands between them, so that the same authorities are the same text.
  return `${certificates.join('\n')}\n`;
}

async function readText(
  name: string,
  file: string | undefined,
  problems: string[],
): Promise<string> {
  if (file === undefined) return '';
  try {
    const text = await readFile(file, 'utf8');
    if (text.trim() === '') problems.push(`${name} is an empty file`);
    return text.trim() === '' ? '' : text;
  } catch (error) {
    problems.push(
      `${name} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
    );
    return '';
  }
}

/** When the certificate ends, seconds since the epoch. */
export function findCertificateEnd(cert: string): number {
  const [leaf] = findCertificates(cert);
  return leaf === undefined ? 0 : new X509Certificate(leaf).validToDate.getTime() / 1000;
}

const SERVING = ['cert', 'key', 'clientCa'] as const;

export interface WatchOptions {
  readonly settings: FileSettings & Pick<WebhookSettings, 'reloadSeconds'>;
  readonly initial: Files;
  readonly onChange: (files: Files) => void;
  readonly metrics: WebhookMetrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface FileWatch {
  /** Looks now; resolves when a change, if any, is in force. */
  check(): Promise<void>;
  stop(): void;
}

/**
 * Looks at the files every `reloadSeconds`. What is unusable is told once and the last good content stays; the listener's
 * files and the broker's authorities apart, so that a broken one of these never keeps an expiring certificate in use.
 */
export function watchFiles(options: WatchOptions): FileWatch {
  const { settings, onChange, metrics, log, clock } = options;
  const stopping = new AbortController();
  let current = options.initial;
  const told = { certificate: '', broker_ca: '' };
  const isUsable = (what: keyof typeof told, problems: readonly string[]): boolean => {
    const text = problems.join('; ');
    // Counted at each look, for as long as it lasts: of a single step an alert would see nothing.
    if (text !== '') metrics.countReload(what, 'refused');
    if (text !== '' && text !== told[what])
      log.warn({ what, problems }, 'files changed but cannot be used; the last good ones stay');
    if (text !== '') told[what] = text;
    return text === '';
  };
  const isNew = (
    what: keyof typeof told,
    problems: readonly string[],
    isOther: boolean,
  ): boolean => {
    if (!isUsable(what, problems)) return false;
    // Told again from here on; not before, for what is new may yet be refused by the listener.
    if (!isOther) told[what] = '';
    return isOther;
  };
  const check = async (): Promise<void> => {
    const servingProblems: string[] = [];
    const caProblems: string[] = [];
    const serving = await readServing(settings, servingProblems);
    const brokerCa = await findBrokerCa(settings.brokerCaFile, caProblems);
    const isServingOther = SERVING.some((name) => serving[name] !== current[name]);
    const isNewServing = isNew('certificate', servingProblems, isServingOther);
    const isNewCa = isNew('broker_ca', caProblems, brokerCa !== current.brokerCa);
    if (!isNewServing && !isNewCa) return;
    const next = {
      ...current,
      ...(isNewServing && serving),
      ...(isNewCa && brokerCa !== undefined && { brokerCa }),
    };
    try {
      onChange(next);
    } catch (error) {
      // The listener is stricter than we are (a key that is too short, say). Tried again at the next look.
      isUsable('certificate', [(error as Error).message]);
      return;
    }
    current = next;
    if (isNewServing) metrics.countReload('certificate', 'ok');
    if (isNewCa) metrics.countReload('broker_ca', 'ok');
    log.info({ certificate: isNewServing, brokerCa: isNewCa }, 'files reloaded');
  };
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await clock.sleep(settings.reloadSeconds * 1000, stopping.signal);
      await check();
    }
  };
  // The only way out of the loop is stop().
  loop().catch(() => undefined);
  return { check, stop: () => stopping.abort() };
}
