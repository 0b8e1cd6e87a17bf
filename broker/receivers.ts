// Which receivers may ask about tokens of which audiences: a file of the operator's, `receiversFile`. An identity that is
// not in it learns nothing about any token, whatever it holds.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { checkDocument, readDocuments } from '../common/documents.ts';
import { AUDIENCE_RULE, isAudience } from '../common/protocol/audiences.ts';
import type { Caller } from './callers.ts';
import { isMatch } from './roles/glob.ts';

export interface Receiver {
  /** `k8s:<cluster>:<namespace>:<serviceAccount>`, `client:<id>`, `oidc:<issuer>:<sub>`; each part an anchored glob. */
  readonly identity: string;
  readonly audiences: readonly string[];
}

export interface Receivers {
  /** Whether a caller may learn about tokens of this audience. */
  mayAsk(caller: Pick<Caller, 'subject' | 'identity' | 'onlyAudience'>, audience: string): boolean;
  /** Whether anybody of a cluster or issuer of this name may ask anything. */
  isAbout(entry: { readonly kind: 'kubernetes' | 'oidc'; readonly name: string }): boolean;
}

/** Everything wrong with the receivers file, in one message that quotes no value. */
export class ReceiversError extends Error {
  readonly problems: readonly string[];

  constructor(file: string, problems: readonly string[]) {
    super(`${file}: ${problems.join('; ')}`);
    this.name = 'ReceiversError';
    this.problems = problems;
  }
}

const PART = String.raw`[^\s:]+`;
const IDENTITY = new RegExp(`^(k8s:${PART}:${PART}:${PART}|client:${PART}|oidc:${PART}:\\S+)$`);
const MAX_RECEIVERS = 10_000;
/** Callers whose audiences are remembered; there are as many as there are receivers that ask. */
const MAX_REMEMBERED = 1000;

const schema = z.strictObject({
  receivers: z
    .array(
      z.strictObject({
        identity: z.string().max(1024).regex(IDENTITY, {
          error:
            'must be k8s:<cluster>:<namespace>:<serviceAccount>, client:<id> or oidc:<issuer>:<sub>',
        }),
        audiences: z
          .array(z.string().refine(isAudience, { error: `must be ${AUDIENCE_RULE}` }))
          .min(1),
      }),
    )
    .max(MAX_RECEIVERS),
});

/** @throws ReceiversError with every problem */
export function parseReceivers(text: string, { file }: { file: string }): readonly Receiver[] {
  const documents = readDocuments(text);
  const [document] = documents;
  if (!document || documents.length > 1)
    throw new ReceiversError(file, ['must hold one document with the list receivers']);
  if (document.problems.length > 0) throw new ReceiversError(file, document.problems);
  const checked = checkDocument(schema, document.value);
  if (!checked.ok) throw new ReceiversError(file, checked.problems);
  return checked.value.receivers;
}

export interface ReceiversFile {
  current(): Receivers;
  /** Reads the file again; what was good stays in use where it cannot be used. @throws ReceiversError */
  reload(): void;
}

/** @throws ReceiversError, also where the file cannot be read */
export function openReceivers(file: string): ReceiversFile {
  let text = readText(file);
  let receivers = createReceivers(parseReceivers(text, { file }));
  return {
    current: () => receivers,
    reload: () => {
      const next = readText(file);
      if (next === text) return;
      receivers = createReceivers(parseReceivers(next, { file }));
      text = next;
    },
  };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new ReceiversError(file, [`cannot be read (${code})`]);
  }
}

/** An object to be replaced whole when the file changes. */
export function createReceivers(receivers: readonly Receiver[]): Receivers {
  const split = receivers.map(({ identity, audiences }) => ({
    pattern: toParts(identity),
    audiences,
  }));
  const remembered = new Map<string, ReadonlySet<string>>();

  function findAudiences(subject: string): ReadonlySet<string> {
    const known = remembered.get(subject);
    if (known) return known;
    const parts = toParts(subject);
    const fitting = split.filter(({ pattern }) => isSame(pattern, parts));
    const audiences = new Set(fitting.flatMap((receiver) => receiver.audiences));
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(subject, audiences);
    return audiences;
  }

  return {
    mayAsk: ({ subject, identity, onlyAudience }, audience) => {
      // A static token proves no identity: its subject is a name that somebody gave it.
      if (!identity || (onlyAudience !== undefined && onlyAudience !== audience)) return false;
      return findAudiences(subject).has(audience);
    },
    isAbout: ({ kind, name }) => {
      const first = kind === 'oidc' ? 'oidc' : 'k8s';
      return split.some(({ pattern }) => pattern[0] === first && isMatch(pattern[1] ?? '', name));
    },
  };
}

/** Part by part, so that no glob reaches over a colon; the `sub` of an OIDC issuer is one part, colons and all. */
function toParts(identity: string): readonly string[] {
  const [kind = '', ...rest] = identity.split(':');
  if (kind !== 'oidc') return [kind, ...rest];
  const [issuer = '', ...sub] = rest;
  return [kind, issuer, sub.join(':')];
}

function isSame(pattern: readonly string[], parts: readonly string[]): boolean {
  return pattern.length === parts.length && pattern.every((one, i) => isMatch(one, parts[i] ?? ''));
}
