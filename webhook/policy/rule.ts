// The shape of one rule of the policies, and how a stranger's text is shown in its message.
import type { DenialCode } from '../errors.ts';

/** What the webhook could do and the policies cannot, and that a pod did not come out as it must. */
export type PolicyCode = DenialCode | 'needs_webhook' | 'not_injected';

export interface Rule {
  readonly code: PolicyCode;
  /** CEL: true where nothing is wrong. */
  readonly expression: string;
  /** Said where `detail` cannot be worked out; without our name and the code. */
  readonly message: string;
  /** CEL: the message for this pod, a string. */
  readonly detail?: string;
}

/** A stranger's text inside a message: quoted and cut, as in webhook/errors.ts. */
export function shown(text: string): string {
  return `strings.quote(${text}.size() > 60 ? ${text}.substring(0, 60) + "…" : ${text})`;
}
