// The `jti` of a JWT of ours: a random id, and a tag of the role that gave it. So a deny rule by role holds for tokens
// that nobody stored, on every replica, without a look-up; and a token still does not name the role to its receiver.
import { hash } from 'node:crypto';

/** 60 bits: two roles of one installation do not share a tag by chance. */
const TAG_LENGTH = 10;
const TAGGED = /\.([\w-]{10})$/;

/** The first 10 base64url characters of the SHA-256 of a role's name. */
export function toRoleTag(roleName: string): string {
  return hash('sha256', roleName, 'base64url').slice(0, TAG_LENGTH);
}

/** @param id unguessable, never twice, without a dot (a UUID) */
export function toTokenId(id: string, roleName: string): string {
  return `${id}.${toRoleTag(roleName)}`;
}

/** The tag in a `jti` of ours; undefined for one that has none. */
export function findRoleTag(tokenId: string): string | undefined {
  return TAGGED.exec(tokenId)?.[1];
}
