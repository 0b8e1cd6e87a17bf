// Where roles come from, as a contract: files, TokenRole objects of the cluster, the broker's API. The registry merges
// what they say; a source knows nothing of the others.
import type { Role } from './role.ts';

/** In the order of precedence: where two sources know one name, the earlier here counts. */
export const SOURCE_KINDS = ['file', 'crd', 'api'] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];

/** A document that has a name and is no role under this broker's limits. */
export interface InvalidRole {
  readonly name: string;
  /** As `Role.source`. */
  readonly source: string;
  /** `spec.audience: is required`, one per problem; without values. */
  readonly problems: readonly string[];
}

export interface RoleSource {
  readonly kind: SourceKind;
  /** Valid roles with unique names; the same list object as long as nothing changes. */
  current(): readonly Role[];
  /** Everything that is wrong in this source, a sentence with its place each; those of {@link invalid} included. */
  problems(): readonly string[];
  invalid(): readonly InvalidRole[];
  /** Called after every change of roles or problems, when {@link current} already says the new. */
  onChange(listener: () => void): void;
  /** For readiness: nothing was read yet. Invalid roles are no obstacle. */
  findObstacles(): readonly string[];
  /** Reads what has changed, now, where the source can. Never rejects: what goes wrong is a problem. */
  reload?(): Promise<void>;
  /** Reads everything once and keeps up. Never rejects. */
  start(): Promise<void>;
  stop(): Promise<void>;
}
