// What `kubectl describe pod` shows of a failure: who has no token, what the broker said, what to do. Never a token.
import { writeFileSync } from 'node:fs';
import type { AudienceFailure } from './acquire.ts';

/** The kubelet takes no more of one container. */
const MAX_BYTES = 4096;

/** The message for a first exchange that failed; the audience that decided it comes first. */
export function describeFailures(
  failures: readonly AudienceFailure[],
  deadlineSeconds: number,
): string {
  const order = ['final', 'deadline', 'abandoned'];
  const sorted = [...failures].sort((a, b) => order.indexOf(a.why) - order.indexOf(b.why));
  // What was abandoned for another's sake never really failed; it would only hide the reason.
  const decisive = sorted.filter((one) => one.why !== 'abandoned');
  return (decisive.length > 0 ? decisive : sorted)
    .map((one) => describe(one, deadlineSeconds))
    .join('\n');
}

function describe(failed: AudienceFailure, deadlineSeconds: number): string {
  const { audience, failure, serviceAccount, tries, why } = failed;
  const limit =
    why === 'deadline'
      ? ` within ${deadlineSeconds} s (${tries} ${tries === 1 ? 'try' : 'tries'})`
      : '';
  const who = serviceAccount === undefined ? '' : ` for ServiceAccount ${serviceAccount}`;
  const role = audience.role === undefined ? '' : ` with role ${audience.role}`;
  const facts = [
    `reason ${failure.code}`,
    ...(failure.status === undefined ? [] : [`status ${failure.status}`]),
    ...(failure.correlationId === undefined ? [] : [`correlation id ${failure.correlationId}`]),
  ];
  return `coatcheck: no token for audience ${audience.audience}${role}${who}${limit}: ${failure.text} (${facts.join(', ')}). What to do: ${failure.advice}.`;
}

/** Writes the message, cut to what the kubelet takes. @returns false where the file cannot be written. */
export function writeTermination(file: string, message: string): boolean {
  try {
    writeFileSync(file, cut(message, MAX_BYTES));
    return true;
  } catch {
    return false;
  }
}

function cut(text: string, maxBytes: number): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return bytes;
  // Back to the beginning of a character: continuation bytes of UTF-8 are 10xxxxxx.
  let end = maxBytes;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
