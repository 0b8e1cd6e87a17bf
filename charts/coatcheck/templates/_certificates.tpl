{{/*
Where certificates and the broker's first key come from: the controller, cert-manager, or whoever installs. What cannot work
together is refused here.
*/}}

{{- define "coatcheck.checkCertificates" -}}
{{- $mode := .Values.certificates.mode -}}
{{- $certificates := .Values.certificates -}}
{{- if and (eq $mode "controller") (not .Values.controller.enabled) -}}
{{- fail "certificates.mode: controller needs controller.enabled; without a controller choose cert-manager, or provided and bring the Secrets" -}}
{{- end -}}
{{- range $certificates.extraBrokerNames -}}
{{- if not (include "coatcheck.isHost" .) -}}
{{- fail (printf "certificates.extraBrokerNames: %q is neither a DNS name nor an address" .) -}}
{{- end -}}
{{- end -}}
{{- if not (include "coatcheck.isDnsName" $certificates.clusterDomain) -}}
{{- fail (printf "certificates.clusterDomain: %q is no DNS name" $certificates.clusterDomain) -}}
{{- end -}}
{{- with .Values.broker.issuer -}}
{{- $host := (urlParse .).hostname -}}
{{- if and (ne $mode "provided") (not (include "coatcheck.isHost" $host)) -}}
{{- fail (printf "broker.issuer: %q is neither a DNS name nor an address; it stands in the broker's certificate" $host) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.caBundle (ne $mode "provided") -}}
{{- fail (printf "caBundle: is for certificates.mode provided; %s fills it in itself" $mode) -}}
{{- end -}}
{{- range list "webhook" "broker" -}}
{{- if and (index $.Values .).tls.secretName (ne $mode "provided") -}}
{{- fail (printf "%s.tls.secretName: is for certificates.mode provided; %s has Secrets of its own" . $mode) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $mode "cert-manager") (lt (int64 $certificates.leafLifetimeSeconds) 10800) -}}
{{- fail "certificates.leafLifetimeSeconds: cert-manager counts hours here, and renews with a third of the life left: at least 10800" -}}
{{- end -}}
{{- if and (ne $mode "provided") (lt (int64 $certificates.caLifetimeSeconds) (mul 4 (add (int64 $certificates.leafLifetimeSeconds) (int64 $certificates.caPublishSeconds)))) -}}
{{- fail "certificates.caLifetimeSeconds: must be at least four times leafLifetimeSeconds and caPublishSeconds together" -}}
{{- end -}}
{{- end -}}

{{- define "coatcheck.certificatesSecret" -}}
{{- include "coatcheck.name" (list . "certificates") -}}
{{- end -}}

{{/* encryption, signing, or nothing: the key that the controller makes because nobody brought one. */}}
{{- define "coatcheck.generatedKey" -}}
{{- $broker := .Values.broker -}}
{{- $isBrought := or $broker.keyEncryption.secretName $broker.signingKeys.secretName -}}
{{- if and $broker.enabled .Values.controller.enabled (ne .Values.certificates.mode "provided") (not $isBrought) -}}
{{- ternary "signing" "encryption" (eq $broker.store.type "none") -}}
{{- end -}}
{{- end -}}

{{/* "true", or nothing: the store keeps the signing keys, sealed. */}}
{{- define "coatcheck.sealsKeys" -}}
{{- if or .Values.broker.keyEncryption.secretName (eq (include "coatcheck.generatedKey" .) "encryption") -}}true{{- end -}}
{{- end -}}

{{/* "true", or nothing: there is a Secret that the controller keeps. */}}
{{- define "coatcheck.keepsSecret" -}}
{{- if or (eq .Values.certificates.mode "controller") (include "coatcheck.generatedKey" .) -}}true{{- end -}}
{{- end -}}

{{/* "true", or nothing: pods and the controller verify the broker by a file, and not by the public authorities. */}}
{{- define "coatcheck.hasBrokerCa" -}}
{{- if not .Values.broker.enabled -}}
{{- if .Values.brokerCaBundle -}}true{{- end -}}
{{- else if or (ne .Values.certificates.mode "provided") .Values.caBundle -}}true{{- end -}}
{{- end -}}

{{/* The volume with ca.crt, for webhook and broker. */}}
{{- define "coatcheck.caVolume" -}}
{{- if and .Values.broker.enabled (eq .Values.certificates.mode "controller") -}}
- name: ca
  secret:
    secretName: {{ include "coatcheck.certificatesSecret" . }}
    items:
      - { key: ca.crt, path: ca.crt }
{{- else if and .Values.broker.enabled (eq .Values.certificates.mode "cert-manager") -}}
- name: ca
  secret:
    secretName: {{ include "coatcheck.tlsSecret" (list . "broker") }}
    items:
      - { key: ca.crt, path: ca.crt }
{{- else if include "coatcheck.hasBrokerCa" . -}}
- name: ca
  configMap:
    name: {{ include "coatcheck.name" (list . "ca") }}
{{- end -}}
{{- end -}}

{{/* Text where it may stand in a certificate as a name. What ends in a number is an address or nothing. */}}
{{- define "coatcheck.isDnsName" -}}
{{- $label := "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?" -}}
{{- if and (le (len .) 253) (regexMatch (printf "^(%s[.])*%s$" $label $label) .) (not (regexMatch "(^|[.])[0-9]+$" .)) -}}
yes
{{- end -}}
{{- end -}}

{{/* The same, or an address, IPv4 or IPv6: at most one `::`, eight groups in all where there is none. */}}
{{- define "coatcheck.isHost" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" -}}
{{- $groups := regexFindAll "[0-9A-Fa-f]+" . -1 | len -}}
{{- $some := "[0-9A-Fa-f]{1,4}(::?[0-9A-Fa-f]{1,4})*" -}}
{{- $isV6 := regexMatch (printf "^(%s(::)?|::(%s)?)$" $some $some) . -}}
{{- $gaps := regexFindAll "::" . -1 | len -}}
{{- if or (include "coatcheck.isDnsName" .) (regexMatch (printf "^(%s[.]){3}%s$" $byte $byte) .) (and $isV6 (or (and (eq $gaps 0) (eq $groups 8)) (and (eq $gaps 1) (lt $groups 8)))) -}}
yes
{{- end -}}
{{- end -}}

{{/* (list $ "webhook"): names that clients know it by, separated by commas. */}}
{{- define "coatcheck.certificateNames" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $namespace := $root.Release.Namespace -}}
{{- $services := list (include "coatcheck.name" .) -}}
{{- if and (eq $part "broker") (int $root.Values.broker.adminListen.port) -}}
{{- $services = append $services (include "coatcheck.name" (list $root "admin")) -}}
{{- end -}}
{{- $names := list -}}
{{- range $services -}}
{{- $names = concat $names (list (printf "%s.%s.svc" . $namespace) (printf "%s.%s.svc.%s" . $namespace $root.Values.certificates.clusterDomain)) -}}
{{- if eq $part "broker" -}}
{{- $names = concat $names (list (printf "%s.%s" . $namespace) .) -}}
{{- end -}}
{{- end -}}
{{- if eq $part "broker" -}}
{{- with $root.Values.broker.issuer -}}
{{- $names = append $names (urlParse .).hostname -}}
{{- end -}}
{{- $names = concat $names $root.Values.certificates.extraBrokerNames -}}
{{- end -}}
{{- join "," (uniq $names) -}}
{{- end -}}

{{/* What the controller is told of all this. */}}
{{- define "coatcheck.certificateVariables" -}}
{{- $certificates := .Values.certificates -}}
{{- if include "coatcheck.keepsSecret" . }}
{{- include "coatcheck.variable" (list "COATCHECK_CERTIFICATES_SECRET" (include "coatcheck.certificatesSecret" .)) }}
{{- end }}
{{- if eq $certificates.mode "controller" }}
{{- include "coatcheck.variable" (list "COATCHECK_WEBHOOK_NAMES" (include "coatcheck.certificateNames" (list . "webhook"))) }}
{{- include "coatcheck.variable" (list "COATCHECK_WEBHOOK_CONFIGURATION" (include "coatcheck.name" (list . "webhook"))) }}
{{- if .Values.broker.enabled }}
{{- include "coatcheck.variable" (list "COATCHECK_BROKER_NAMES" (include "coatcheck.certificateNames" (list . "broker"))) }}
{{- include "coatcheck.variable" (list "COATCHECK_CERTIFICATES_CA_FILE" "/etc/coatcheck/ca/ca.crt") }}
{{- end }}
{{- include "coatcheck.variable" (list "COATCHECK_CA_LIFETIME_SECONDS" (int64 $certificates.caLifetimeSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_LEAF_LIFETIME_SECONDS" (int64 $certificates.leafLifetimeSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_CA_PUBLISH_SECONDS" (int64 $certificates.caPublishSeconds)) }}
{{- end }}
{{- with include "coatcheck.generatedKey" . }}
{{- include "coatcheck.variable" (list "COATCHECK_GENERATE_KEY" .) }}
{{- end }}
{{- end -}}
