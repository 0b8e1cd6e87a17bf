// Who asks the admin API, as far as its routes look; callers.ts finds out.
import type { Caller } from '../../callers.ts';
import type { LiveToken } from '../../tokens/live.ts';

type Told = 'kind' | 'tokenId' | 'accessor' | 'name' | 'audience' | 'scopes' | 'expiresAt';

export type AdminCaller = Pick<Caller, 'subject' | 'identity' | 'policies' | 'via'> & {
  /** The token of ours that was shown. */
  readonly token?: Pick<LiveToken, Told>;
};
