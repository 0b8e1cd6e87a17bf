{{/* A cluster whose broker is in another one (broker.enabled: false): what it needs, and what has no meaning in it. */}}

{{- define "coatcheck.checkRemote" -}}
{{- $values := .Values -}}
{{- if $values.broker.enabled -}}
{{- range list "brokerUrl" "brokerCaBundle" -}}
{{- if index $values . -}}
{{- fail (printf "%s: is for a cluster whose broker is elsewhere: set broker.enabled to false, or leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- range list "brokerUrl" "brokersService" -}}
{{- if index $values.controller . -}}
{{- fail (printf "controller.%s: is for a cluster whose broker is elsewhere: set broker.enabled to false, or leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if not $values.brokerUrl -}}
{{- fail "brokerUrl: is required where broker.enabled is false: the URL of the broker in the other cluster, as its certificate names it" -}}
{{- end -}}
{{- range list "roles" "rolesConfigMap" "clusters" "receivers" -}}
{{- if index $values . -}}
{{- fail (printf "%s: belongs to the release that has the broker; here broker.enabled is false" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The URL at which the controller finds the admin API; also the name that the certificate must have. */}}
{{- define "coatcheck.adminUrl" -}}
{{- .Values.controller.brokerUrl | default (include "coatcheck.brokerUrl" .) -}}
{{- end -}}

{{/* "true", or nothing: a broker in the same cluster reads the keys itself. */}}
{{- define "coatcheck.pushesKeys" -}}
{{- if and (not .Values.broker.enabled) .Values.controller.enabled .Values.controller.pushKeys -}}true{{- end -}}
{{- end -}}

{{/* JSON: the ports of the broker in the other cluster, as they are seen from here. */}}
{{- define "coatcheck.remoteBrokerPorts" -}}
{{- $host := (urlParse (include "coatcheck.adminUrl" .)).host -}}
{{- $ports := .Values.networkPolicy.remoteBroker.ports -}}
{{- if not $ports -}}
{{- $ports = list (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $host) | default "443" | int) -}}
{{- with .Values.controller.brokersService -}}
{{- $ports = list (regexFind "[0-9]+$" . | int) -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}
