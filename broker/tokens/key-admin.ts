// What people may see of signing keys and do with them, wherever the keys are kept. No private half is in any of it.
import { StoreError } from '../store/store.ts';
import type { KeyFolder } from './key-folder.ts';
import type { SigningAlgorithm } from './keys.ts';

/** Times in seconds since the epoch. */
export interface KeyReport {
  readonly kid: string;
  /** Absent where it cannot be read. */
  readonly algorithm?: SigningAlgorithm;
  /** `published`: it has signed tokens that still live. `unreadable`: it is in the store and not in the JWKS. */
  readonly state: 'upcoming' | 'signing' | 'published' | 'unreadable';
  readonly createdAt?: number;
  readonly signsFrom?: number;
  readonly retiresAt?: number;
  /** Name of the sealing key; of an unreadable key what its row says, which may be untrue. */
  readonly sealedBy?: string;
}

export interface Rewrapped {
  readonly rewrapped: number;
  readonly unreadable: number;
  readonly sealedBy: string;
}

export interface KeyAdmin {
  readonly source: 'store' | 'folder';
  /** In the order in which they (are to) sign. @throws StoreError unavailable */
  list(): Promise<readonly KeyReport[]>;
  /**
   * Announces a new key; it signs ten minutes later.
   * @throws StoreError conflict: one is announced already, or the keys are files; its message may be told to the caller
   */
  rotate(): Promise<KeyReport>;
  /** Seals every key anew with the newest sealing key. @throws StoreError as {@link rotate} */
  rewrap(): Promise<Rewrapped>;
}

const FOLDER_RULES = 'the signing keys are files of a folder, and are changed there';

/** The view of a folder: it is read, and changed by whoever owns the files. */
export function createFolderAdmin(keys: Pick<KeyFolder, 'current'>): KeyAdmin {
  const refuse = () => Promise.reject(new StoreError('conflict', FOLDER_RULES));
  return {
    source: 'folder',
    list: () => {
      const { signing, published } = keys.current();
      const at = published.findIndex(({ kid }) => kid === signing.kid);
      return Promise.resolve(
        published.map(({ kid, algorithm }, i) => ({ kid, algorithm, state: toState(i, at) })),
      );
    },
    rotate: refuse,
    rewrap: refuse,
  };
}

/** Files sign in the order of their names: what stands after the one that signs is yet to sign. */
function toState(index: number, signingIndex: number): KeyReport['state'] {
  if (index === signingIndex) return 'signing';
  return index > signingIndex ? 'upcoming' : 'published';
}
