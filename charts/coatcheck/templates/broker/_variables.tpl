{{- define "coatcheck.brokerVariables" -}}
{{- $broker := .Values.broker -}}
{{- include "coatcheck.variable" (list "COATCHECK_CLUSTERS_FILE" "/etc/coatcheck/clusters/clusters.yaml") }}
{{- include "coatcheck.variable" (list "COATCHECK_ROLES_PATH" "/etc/coatcheck/roles") }}
{{- include "coatcheck.variable" (list "COATCHECK_SIGNING_KEYS_DIR" "/etc/coatcheck/signing-keys") }}
{{- if .Values.caBundle }}
{{- include "coatcheck.variable" (list "COATCHECK_CA_BUNDLE_FILE" "/etc/coatcheck/ca/ca.crt") }}
{{- end }}
{{- include "coatcheck.variable" (list "COATCHECK_TOKEN_ROLES" $broker.tokenRoles.enabled) }}
{{- include "coatcheck.variable" (list "COATCHECK_NAMESPACE_LABELS" (ternary "auto" "off" $broker.namespaceSelectors)) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_TOKEN_TTL_SECONDS" (int64 $broker.maxTokenTtlSeconds)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_RESERVED_AUDIENCES" (join "," .Values.reservedAudiences)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_ALLOW_BROKER_POLICIES" (join "," $broker.allowBrokerPolicies)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_ALLOW_EXTRA_CLAIMS" (join "," $broker.allowExtraClaims)) }}
{{- end -}}
