// The two modes. Both begin with the first exchange, all tokens or none; `refresh` then stays, and keeps what an earlier
// run has left.
import type { Clock, Random } from '../common/clock.ts';
import type { PodAudience } from '../common/protocol/pod.ts';
import { type AudienceFailure, acquireAll, toWriteFailure } from './acquire.ts';
import type { Exchanger, IssuedToken } from './exchange.ts';
import { findToken, writeTokens } from './file.ts';
import type { Log } from './log.ts';
import { keepFresh, type Life } from './refresh.ts';
import type { ExchangeSettings } from './settings.ts';
import { describeFailures, writeTermination } from './termination.ts';
import { createWatchdog } from './watchdog.ts';

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
const WATCH_EVERY_MS = 5_000;
const CLOCK_TOLERANCE_MS = 5_000;

/** What main built for a mode to run on. */
export interface Program {
  settings: ExchangeSettings;
  exchanger: Exchanger;
  log: Log;
  clock: Clock;
  /** Monotonic: setting the system's clock does not move it. */
  uptime: Clock;
  random: Random;
  /** Aborted when the process is told to end. */
  signal: AbortSignal;
}

/** Fetches and writes every token once. @returns the exit code. */
export async function init(program: Program): Promise<number> {
  const isDone = await acquireAndWrite(program.settings.audiences, program);
  return isDone ? EXIT_OK : EXIT_FAILED;
}

/** Fetches what is missing and keeps all of it fresh; resolves only to a failure's exit code. */
export async function refresh(program: Program): Promise<number> {
  const { settings, exchanger, log, clock, uptime, random, signal } = program;
  const lives = findLives(program);
  const missing = settings.audiences.filter(({ name }) => !lives.has(name));
  const fresh =
    missing.length === 0 ? new Map<string, Life>() : await acquireAndWrite(missing, program);
  if (!fresh) return EXIT_FAILED;
  const watchdog = createWatchdog({ uptime, everyMs: WATCH_EVERY_MS });
  const loops = settings.audiences.map((audience) => {
    const life = lives.get(audience.name) ?? fresh.get(audience.name);
    if (!life) throw new TypeError('an audience has neither a stored nor a fresh token');
    return keepFresh(audience, life, {
      exchanger,
      write: (one, token) => write(new Map([[one.name, token]]), program),
      tryTimeoutMs: settings.tryTimeoutSeconds * 1000,
      clock,
      uptime,
      random,
      watchdog,
      log,
      signal,
    });
  });
  const stuck = await Promise.race([watchdog.watch(signal), ...loops]);
  return fail(
    program,
    `coatcheck: the renewal of ${stuck} is stuck; this container ends so that it is started again.`,
  );
}

/**
 * The lives of the tokens that an earlier run of this container, or the init container before it, has left: they are
 * kept, so that nothing is fetched twice and a restart while the broker is away costs nothing. Expired ones among live
 * ones count too and are renewed at once: one audience that is refused must not keep the others from being renewed.
 */
function findLives({ settings, log, clock }: Program): Map<string, Life> {
  const stored = settings.audiences.flatMap(({ name, audience }) => {
    const token = findToken(settings.tokensDir, name);
    return token?.content.audience === audience ? [{ name, token }] : [];
  });
  // None alive: that is a first exchange again, with its deadline and its termination message.
  if (!stored.some(({ token }) => token.expiresMs > clock.now())) return new Map();
  return new Map(
    stored.map(({ name, token: { content, writtenMs, expiresMs } }) => {
      const { audience, expires_at: expires } = content;
      log.info('keeping the token that is already there', { audience, expires });
      // Written in the future: the clock was set back since, and nobody knows how old the token is. Renewed at once.
      const startMs = writtenMs > clock.now() + CLOCK_TOLERANCE_MS ? 0 : writtenMs;
      return [name, { startMs: Math.min(startMs, expiresMs), endMs: expiresMs }];
    }),
  );
}

async function acquireAndWrite(
  audiences: readonly PodAudience[],
  program: Program,
): Promise<ReadonlyMap<string, IssuedToken> | undefined> {
  const { settings, exchanger, log, uptime, random, signal } = program;
  const acquired = await acquireAll(audiences, {
    exchanger,
    deadlineMs: settings.deadlineSeconds * 1000,
    uptime,
    random,
    log,
    signal,
  });
  if (!acquired.ok) {
    failFirst(program, acquired.failures);
    return undefined;
  }
  try {
    write(acquired.tokens, program);
    return acquired.tokens;
  } catch (error) {
    const { text, advice } = toWriteFailure(error);
    fail(program, `coatcheck: ${text}. What to do: ${advice}.`);
    return undefined;
  }
}

function write(
  tokens: ReadonlyMap<string, IssuedToken>,
  { settings, exchanger, log, clock }: Program,
): void {
  const root = settings.tokensDir;
  const files = [...tokens].map(([name, token]) => ({ name, content: token.content }));
  writeTokens(files, { root, bundle: exchanger.trust.bundle, nowMs: clock.now() });
  for (const { name, content } of files) {
    log.info('token written', {
      audience: content.audience,
      path: `${root}/${name}/token`,
      expires: content.expires_at,
    });
  }
}

function failFirst(program: Program, failures: readonly AudienceFailure[]): void {
  fail(program, describeFailures(failures, program.settings.deadlineSeconds));
}

function fail({ settings, log }: Program, message: string): number {
  const isWritten = writeTermination(settings.terminationLog, message);
  log.error('exchange failed', {
    problem: message,
    termination_log: isWritten ? undefined : 'could not be written',
  });
  return EXIT_FAILED;
}
