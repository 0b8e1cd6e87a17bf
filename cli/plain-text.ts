// Texts of somebody else's on their way to a terminal.
import { scrubTokens } from '../common/secret.ts';

/** No token, and nothing that could write over, or turn round, what stands there already. */
export function toPlainText(text: string): string {
  return scrubTokens(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}
