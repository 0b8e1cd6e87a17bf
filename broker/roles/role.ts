// A role as the rest of the broker sees it, whatever source it came from (schema.ts parses it; sources/ read it).
import type { Identity, VerifiedSubject } from '../identity/identity.ts';

/** A ServiceAccount by its name, or by globs. */
export interface WorkloadRule {
  /** The broker's own cluster unless written; `*` is every cluster. */
  readonly cluster?: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A ServiceAccount in every namespace of the broker's own cluster that the selector selects. */
export interface SelectorRule {
  readonly namespaceSelector: LabelSelector;
  readonly serviceAccount: string;
}

export interface OidcRule {
  /** The name of the entry in the table of issuers. */
  readonly issuer: string;
  /** An anchored glob over `sub`. */
  readonly subject: string;
  /** All must fit: an anchored glob, or exactly this number or boolean; a list in the token fits with any one item. */
  readonly claims?: Readonly<Record<string, string | number | boolean>>;
}

export interface ClientRule {
  readonly client: string;
}

export interface UserRule {
  /** `<provider>:<subject>`; the provider's name holds no colon. */
  readonly user: string;
}

export interface GroupRule {
  /** `<provider>:<group>`: a group of one provider is nothing to another. */
  readonly group: string;
}

export type SubjectRule =
  | WorkloadRule
  | SelectorRule
  | OidcRule
  | ClientRule
  | UserRule
  | GroupRule;

/** As Kubernetes' LabelSelector; both parts must hold. Never empty. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly LabelExpression[];
}

export interface LabelExpression {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  /** At least one with `In` and `NotIn`, none otherwise. */
  readonly values?: readonly string[];
}

export interface TokenSpec {
  readonly type: 'jwt' | 'opaque';
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly outliveSubject: boolean;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
  readonly jwtType: 'at+jwt' | 'JWT';
}

/** What a condition may ask about besides the subject. */
export interface ConditionRequest {
  readonly audience: string;
  /** Empty where the request asks for none. */
  readonly scopes: readonly string[];
  /** Name of the role asked for; empty where none is. */
  readonly role: string;
  readonly dialect: string;
}

/** Only `ok: true` lets anybody in. */
export type ConditionResult =
  | { readonly ok: true }
  /** `got` is false, or says why there is no answer: a missing variable, an error, a result that is no boolean. */
  | { readonly ok: false; readonly got: false | string };

/** What the conditions of all roles together may cost one request; each takes from it what it spent. */
export interface Allowance {
  steps: number;
}

/** A CEL expression, compiled. */
export interface Condition {
  readonly text: string;
  /** Kinds of subjects that have every variable it names; of others it may still hold, by `has` and `||`. */
  readonly kinds: readonly Identity['kind'][];
  /** Never throws; bounded in time, by the allowance too where there is one. */
  evaluate(
    subject: VerifiedSubject,
    request: ConditionRequest,
    allowance?: Allowance,
  ): ConditionResult;
}

export interface Role {
  readonly name: string;
  /** Where it was written, for reports: `file:/etc/coatcheck/roles/a.yaml#2`, `crd:payments`, `api:payments`. */
  readonly source: string;
  readonly audience: string;
  readonly subjects: readonly SubjectRule[];
  /** Absent: subjects alone decide. */
  readonly condition?: Condition;
  readonly requirePod: boolean;
  readonly allowExtraAudiences: boolean;
  readonly token: TokenSpec;
}
