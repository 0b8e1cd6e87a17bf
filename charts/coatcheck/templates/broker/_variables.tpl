{{- define "coatcheck.brokerVariables" -}}
{{- $broker := .Values.broker -}}
{{- include "coatcheck.variable" (list "COATCHECK_CLUSTERS_FILE" "/etc/coatcheck/clusters/clusters.yaml") }}
{{- include "coatcheck.variable" (list "COATCHECK_ROLES_PATH" "/etc/coatcheck/roles") }}
{{- include "coatcheck.storeVariables" . }}
{{- if include "coatcheck.hasBrokerCa" . }}
{{- include "coatcheck.variable" (list "COATCHECK_CA_BUNDLE_FILE" "/etc/coatcheck/ca/ca.crt") }}
{{- end }}
{{- include "coatcheck.variable" (list "COATCHECK_TOKEN_ROLES" $broker.tokenRoles.enabled) }}
{{- include "coatcheck.variable" (list "COATCHECK_NAMESPACE_LABELS" (ternary "auto" "off" $broker.namespaceSelectors)) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_TOKEN_TTL_SECONDS" (int64 $broker.maxTokenTtlSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_TOKENS_PER_IDENTITY" (int $broker.maxTokensPerIdentity)) }}
{{- include "coatcheck.variable" (list "COATCHECK_SOURCE_REFUSALS_PER_SECOND" (int $broker.sourceRefusalsPerSecond)) }}
{{- include "coatcheck.variable" (list "COATCHECK_IDENTITY_REQUESTS_PER_SECOND" (int $broker.identityRequestsPerSecond)) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_CONNECTIONS" (int $broker.maxConnections)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_TRUSTED_PROXIES" (join "," $broker.trustedProxies)) }}
{{- include "coatcheck.variable" (list "COATCHECK_ALLOW_PRIVATE_CLUSTER_ADDRESSES" $broker.allowPrivateClusterAddresses) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_STATIC_TOKEN_TTL_SECONDS" (int $broker.maxStaticTokenTtlSeconds)) }}
{{- if .Values.receivers }}
{{- include "coatcheck.variable" (list "COATCHECK_RECEIVERS_FILE" "/etc/coatcheck/receivers/receivers.yaml") }}
{{- end }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_FORMER_ISSUERS" (join "," $broker.formerIssuers)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_RESERVED_AUDIENCES" (join "," .Values.reservedAudiences)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_ALLOW_BROKER_POLICIES" (join "," $broker.allowBrokerPolicies)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_ALLOW_EXTRA_CLAIMS" (join "," $broker.allowExtraClaims)) }}
{{- end -}}
