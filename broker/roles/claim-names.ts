// Claims that a role may not add to a token: a receiver would take them at their word. All names of IANA's registry
// "JSON Web Token Claims", names that others read groups and people from, and what our tokens state themselves.

/**
 * https://www.iana.org/assignments/jwt/jwt.xhtml, as of June 2026, and `vct`, which is about to be in it. Names leave the
 * registry never; new ones are to be added here.
 */
const REGISTERED = `
  iss sub aud exp nbf iat jti name given_name family_name middle_name nickname preferred_username profile picture
  website email email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at
  azp nonce auth_time at_hash c_hash acr amr sub_jwk cnf sip_from_tag sip_date sip_callid sip_cseq_num sip_via_branch
  orig dest mky events toe txn rph sid vot vtm attest origid act scope client_id may_act jcard at_use_nbr div opt vc vp
  sph ace_profile cnonce exi roles groups entitlements token_introspection eat_nonce ueid sueids oemid hwmodel
  hwversion oemboot dbgstat location eat_profile submods uptime bootcount bootseed dloas swname swversion manifests
  measurements measres intuse cdniv cdnicrit cdniip cdniuc cdniets cdnistt cdnistd sig_val_claims authorization_details
  verified_claims place_of_birth nationalities birth_family_name birth_given_name birth_middle_name salutation title
  msisdn also_known_as htm htu ath atc sub_id rcd rcdi crn msgi _claim_names _claim_sources rdap_allowed_purposes
  rdap_dnt_allowed geohash _sd ... _sd_alg sd_hash consumerPlmnId consumerSnpnId producerPlmnId producerSnpnId
  producerSnssaiList producerNsiList producerNfSetId producerNfServiceSetId sourceNfInstanceId analyticsIdList
  resOwnerId cmw jwks metadata constraints crit ref delegation logo_uri authority_hints trust_anchor_hints trust_marks
  trust_mark_issuers trust_mark_owners metadata_policy metadata_policy_crit source_endpoint keys trust_mark_type
  trust_chain trust_anchor status status_list ttl stpl vct
`;
/** Read by API servers, identity-aware proxies and ourselves, in no registry. */
const READ_BY_OTHERS = 'upn username policies cluster';
/** Claims that every token of ours states; no exception can give them to a role. */
const OUR_OWN = [
  'iss',
  'sub',
  'aud',
  'exp',
  'nbf',
  'iat',
  'jti',
  'client_id',
  'scope',
  'policies',
  'cluster',
];
/** Beginnings: legacy ServiceAccount claims look like `kubernetes.io/serviceaccount/…`. */
const REFUSED_PREFIXES = ['email', 'kubernetes.io', '__proto__'];

const REFUSED = toWords(`${REGISTERED} ${READ_BY_OTHERS}`);
const NEVER = toWords(OUR_OWN.join(' '));

/**
 * Why a role may not set this claim; undefined if it may. Upper and lower case do not tell names apart: Go's JSON
 * decoder reads `Groups` into a field named `groups`.
 * @param exceptions names the operator allows nevertheless
 */
export function findClaimProblem(
  name: string,
  exceptions: readonly string[] = [],
): string | undefined {
  const lower = name.toLowerCase();
  if (!/^[\x21-\x7e]{1,128}$/.test(name))
    return 'must be a claim name of 1 to 128 printable ASCII characters';
  if (NEVER.has(lower) || lower.startsWith('kubernetes.io'))
    return 'is a claim of the broker, no role may set it';
  const isRefused =
    REFUSED.has(lower) || REFUSED_PREFIXES.some((prefix) => lower.startsWith(prefix));
  return isRefused && !exceptions.includes(name)
    ? 'is a registered or widely read claim, no role may set it'
    : undefined;
}

function toWords(text: string): ReadonlySet<string> {
  return new Set(
    text
      .trim()
      .split(/\s+/)
      .map((word) => word.toLowerCase()),
  );
}
