// What the operator allows and forbids to every role, whatever source it comes from.

export interface RoleLimits {
  /** A role that states more is refused. The broker's ceiling at issuing binds in any case. */
  readonly maxTtlSeconds?: number;
  /** Policies with power at the broker that roles may name nevertheless. */
  readonly allowBrokerPolicies?: readonly string[];
  /** Claims that roles may set although they are registered or widely read. */
  readonly allowClaims?: readonly string[];
  /** More reserved audiences than the built-in ones. */
  readonly reservedAudiences?: readonly string[];
  /** Audiences whose ServiceAccount tokens receivers accept as they are: no role can be made for one. */
  readonly directAudiences?: readonly string[];
  /** Whether there is a store to keep opaque tokens in; a role of type opaque is refused without. */
  readonly allowOpaque?: boolean;
  /** Whether a name may be `<mount>/<name>`, as Vault's clients write roles. Of the API alone. */
  readonly allowMountNames?: boolean;
}
