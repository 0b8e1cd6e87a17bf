{{/*
Names and labels. Every object is called <release>-<part>; the broker's URL in other people's configuration is made of it.
*/}}

{{- define "coatcheck.fullname" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name -}}
{{- /* Names of Services begin with a letter. */ -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the name %q cannot be used for a Service: set fullnameOverride to lower-case letters, digits and dashes, beginning with a letter" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* (list $ "broker"): <release>-broker, at most 63 characters, the part always whole. */}}
{{- define "coatcheck.name" -}}
{{- $part := index . 1 -}}
{{- $room := int (sub 62 (len $part)) -}}
{{- printf "%s-%s" (include "coatcheck.fullname" (index . 0) | trunc $room | trimSuffix "-") $part -}}
{{- end -}}

{{/* (list $ "broker"): what selectors match; never changes between versions. */}}
{{- define "coatcheck.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Values.nameOverride | default $root.Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "coatcheck.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "coatcheck.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "coatcheck" -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (merge $own $root.Values.commonLabels) -}}
{{- end -}}

{{- define "coatcheck.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- (index $root.Values $part).tls.secretName | default (include "coatcheck.name" (list $root (printf "%s-tls" $part))) -}}
{{- end -}}

{{- define "coatcheck.signingKeysSecret" -}}
{{- .Values.broker.signingKeys.secretName | default (include "coatcheck.name" (list . "signing-keys")) -}}
{{- end -}}

{{- define "coatcheck.rolesConfigMap" -}}
{{- .Values.rolesConfigMap | default (include "coatcheck.name" (list . "roles")) -}}
{{- end -}}

{{- define "coatcheck.brokerUrl" -}}
{{- if not .Values.broker.enabled -}}
{{ .Values.brokerUrl }}
{{- else -}}
https://{{ include "coatcheck.name" (list . "broker") }}.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end -}}

{{/* What whoever talks to the broker verifies it by; nothing: the public authorities. */}}
{{- define "coatcheck.brokerCa" -}}
{{- ternary .Values.caBundle .Values.brokerCaBundle .Values.broker.enabled -}}
{{- end -}}

{{/* (list image appVersion) */}}
{{- define "coatcheck.imageReference" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end -}}
{{- end -}}
