{{/* What the webhook writes into pods: the part of its settings that `exchange` in the values is about. */}}

{{/* Beside the other image, under its name and -exchange, with the same tag, unless the values say otherwise. */}}
{{- define "coatcheck.exchangeImage" -}}
{{- $own := .Values.exchange.image -}}
{{- $repository := $own.repository | default (printf "%s-exchange" .Values.image.repository) -}}
{{- $tag := $own.tag | default (ternary .Values.image.tag "" (eq $own.repository "")) -}}
{{- include "coatcheck.imageReference" (list (dict "repository" $repository "tag" $tag "digest" $own.digest) .Chart.AppVersion) -}}
{{- end -}}

{{- define "coatcheck.exchangeVariables" -}}
{{- $exchange := .Values.exchange -}}
{{- include "coatcheck.variable" (list "COATCHECK_IMAGE" (include "coatcheck.exchangeImage" .)) }}
{{- include "coatcheck.variable" (list "COATCHECK_IMAGE_PULL_POLICY" $exchange.image.pullPolicy) }}
{{- if $exchange.command }}
{{- include "coatcheck.variable" (list "COATCHECK_EXCHANGE_COMMAND" (toJson $exchange.command)) }}
{{- end }}
{{- include "coatcheck.variable" (list "COATCHECK_BROKER_URL" (include "coatcheck.brokerUrl" .)) }}
{{- if and (not .Values.broker.enabled) (has $exchange.brokerFallbackAddress (list "auto" "none")) }}
{{- else if eq $exchange.brokerFallbackAddress "auto" }}
- name: COATCHECK_BROKER_FALLBACK_ADDRESS
  {{- /* The kubelet knows the ClusterIP, a chart cannot. Should the pod be older than the Service, this stays as it is, the
         process refuses it, and the restarted container has the address. */}}
  value: "$({{ include "coatcheck.name" (list . "broker") | upper | replace "-" "_" }}_SERVICE_HOST)"
{{- else if ne $exchange.brokerFallbackAddress "none" }}
{{- include "coatcheck.variable" (list "COATCHECK_BROKER_FALLBACK_ADDRESS" $exchange.brokerFallbackAddress) }}
{{- end }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_ISSUER" .Values.broker.issuer) }}
{{- include "coatcheck.variable" (list "COATCHECK_MOUNT_ROOT" $exchange.mountRoot) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_SKIP_CONTAINERS" (join "," $exchange.skipContainers)) }}
{{- include "coatcheck.optionalVariable" (list "COATCHECK_RESERVED_AUDIENCES" (join "," .Values.reservedAudiences)) }}
{{- include "coatcheck.variable" (list "COATCHECK_DEFAULT_MODE" $exchange.defaultMode) }}
{{- include "coatcheck.variable" (list "COATCHECK_INIT_ORDER" $exchange.initOrder) }}
{{- include "coatcheck.variable" (list "COATCHECK_TOKEN_EXPIRATION_SECONDS" (int64 $exchange.tokenExpirationSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_DEADLINE_SECONDS" (int64 $exchange.deadlineSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_EXCHANGE_CPU_REQUEST" $exchange.resources.requests.cpu) }}
{{- include "coatcheck.variable" (list "COATCHECK_EXCHANGE_CPU_LIMIT" $exchange.resources.limits.cpu) }}
{{- include "coatcheck.variable" (list "COATCHECK_EXCHANGE_MEMORY_REQUEST" $exchange.resources.requests.memory) }}
{{- include "coatcheck.variable" (list "COATCHECK_EXCHANGE_MEMORY_LIMIT" $exchange.resources.limits.memory) }}
{{- include "coatcheck.variable" (list "COATCHECK_TOKENS_SIZE_LIMIT" $exchange.tokensSizeLimit) }}
{{- if $exchange.podAnnotations }}
{{- include "coatcheck.variable" (list "COATCHECK_POD_ANNOTATIONS" (toJson $exchange.podAnnotations)) }}
{{- end }}
{{- end -}}
