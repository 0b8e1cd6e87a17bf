// Our own tokens for the broker: the one on the disk and, in memory alone, those before it that still hold. After a change
// of the cluster's signing key the newest may be under a key that only our next push makes known.
import type { Clock } from '../common/clock.ts';
import { readToken } from '../common/kube/credential.ts';

export interface TokenHistory {
  /** Reads the disk; to be called more often than the kubelet replaces the file. @throws KubeError `unreadable` */
  remember(): Promise<void>;
  /** Newest first; older ones only while they hold. */
  list(): readonly string[];
}

interface Known {
  readonly token: string;
  /** Milliseconds since the epoch; undefined where it cannot be read. */
  readonly endsAt: number | undefined;
}

// The kubelet replaces a token at four fifths of its life: more than one older is there only while somebody else writes.
const MAX_OLDER = 3;

export function createTokenHistory(file: string, clock: Pick<Clock, 'now'>): TokenHistory {
  let known: readonly Known[] = [];

  const holds = ({ endsAt }: Known) => endsAt !== undefined && endsAt > clock.now();

  return {
    remember: async () => {
      const token = await readToken(file);
      const newest = { token, endsAt: findEnd(token) };
      const older = known.filter((one) => one.token !== token && holds(one));
      known = [newest, ...older.slice(0, MAX_OLDER)];
    },
    list: () => {
      const [newest, ...older] = known;
      known = newest ? [newest, ...older.filter(holds)] : [];
      return known.map(({ token }) => token);
    },
  };
}

/** `exp` of our own token, which nobody has to verify for us. */
function findEnd(token: string): number | undefined {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { exp } = Object(JSON.parse(payload)) as { exp?: unknown };
    return typeof exp === 'number' ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}
