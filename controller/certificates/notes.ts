// What is said of the certificates: log lines, metrics, and Events on the Secret. No line holds a key.
import type { Logger } from '../../common/log.ts';
import type { EventRecorder } from '../events.ts';
import type { CertificateMetrics } from './certificate-metrics.ts';
import type { Note } from './plan.ts';

export interface Teller {
  /** @param uid of the Secret */
  tell(notes: readonly Note[], uid: string): void;
  /** The API server's bundle is somebody else's. */
  tellOwned(owners: readonly string[], uid: string): void;
  tellClock(clock: ClockTrouble): void;
}

/** Times of day, milliseconds since the epoch; `uid` of the Secret. */
export interface ClockTrouble {
  readonly trouble: 'ahead' | 'behind';
  readonly here: number;
  readonly readAt: number;
  readonly uid: string;
}

export function createTeller(around: {
  log: Logger;
  metrics: CertificateMetrics;
  events: Pick<EventRecorder, 'record'>;
  namespace: string;
  secret: string;
}): Teller {
  const { log, metrics, events, namespace, secret } = around;
  const record = (type: 'Normal' | 'Warning', uid: string, said: [string, string]) => {
    const [reason, note] = said;
    const regarding = { apiVersion: 'v1', kind: 'Secret', name: secret, namespace, uid };
    events.record({ regarding, type, reason, action: 'KeepingCertificates', note });
  };
  const tellOne = (note: Note, uid: string): void => {
    switch (note.kind) {
      case 'authority_created':
        metrics.countRenewal('ca');
        if (note.reason === 'first') {
          log.info({ object: secret }, 'the first authority was made');
          return;
        }
        metrics.countFailure('lost');
        log.error({ object: secret }, LOST);
        record('Warning', uid, ['AuthorityLost', LOST]);
        return;
      case 'authority_next':
        if (note.reason === 'key_lost') {
          metrics.countFailure('lost');
          log.error({ object: secret }, KEY_LOST);
          record('Warning', uid, ['AuthorityKeyLost', KEY_LOST]);
          return;
        }
        log.info({ object: secret, reason: note.reason }, 'a next authority is published');
        record('Normal', uid, [
          'AuthorityPublished',
          'a next authority is published; it signs later',
        ]);
        return;
      case 'authority_promoted':
        metrics.countRenewal('ca');
        log.info(
          { object: secret, isCrossed: note.isCrossed },
          'the next authority signs from now on',
        );
        record('Normal', uid, ['AuthoritySigns', 'the next authority signs from now on']);
        return;
      case 'leaf_signed':
        metrics.countRenewal(note.part);
        log.info(
          { object: secret, part: note.part, reason: note.reason },
          'a certificate was signed',
        );
        return;
      default:
        log.warn({ object: secret, keys: note.keys }, 'unusable keys of the Secret were mended');
    }
  };
  return {
    tell: (notes, uid) => {
      for (const note of notes) tellOne(note, uid);
    },
    tellOwned: (owners, uid) => {
      const note = `${OWNED}${owners.length > 0 ? `: ${owners.join(', ')}` : ''}`;
      record('Warning', uid, ['CaBundleOwnedByOthers', note]);
    },
    tellClock: ({ trouble, here: now, readAt, uid }) => {
      const [here, apiServer] = [new Date(now).toISOString(), new Date(readAt).toISOString()];
      log.error({ object: secret, here, apiServer, trouble }, CLOCK);
      record('Warning', uid, ['ClockDiffers', `${CLOCK}: ${here} here, ${apiServer} there`]);
    },
  };
}

const LOST =
  'the authority was lost; a new one signs at once, and pods that were injected before cannot verify the broker until they are made anew';
const KEY_LOST =
  'the key of the authority was lost; another authority is published and will sign, and pods that do not take a token before cannot verify the broker then';
const CLOCK =
  "this clock and the API server's differ by more than five minutes; no certificate is made or renewed until they agree";
export const OWNED =
  'caBundle of the MutatingWebhookConfiguration is owned by somebody else and is left alone';
