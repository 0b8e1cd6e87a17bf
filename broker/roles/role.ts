// A role as the rest of the broker sees it, whatever source it came from (schema.ts parses it; sources/ read it).

export interface SubjectRule {
  /** The broker's own cluster unless written; `*` is every cluster. */
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly issuer?: string;
  readonly subject?: string;
  readonly claims?: Readonly<Record<string, string | number | boolean>>;
  readonly client?: string;
  readonly user?: string;
  readonly group?: string;
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

export interface Role {
  readonly name: string;
  /** Where it was written, for reports: `file:/etc/coatcheck/roles/a.yaml#2`. */
  readonly source: string;
  readonly audience: string;
  readonly subjects: readonly SubjectRule[];
  readonly requirePod: boolean;
  readonly allowExtraAudiences: boolean;
  readonly token: TokenSpec;
}
