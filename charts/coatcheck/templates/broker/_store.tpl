{{/* Where the broker keeps its state, as variables, mounts and volumes. What cannot work is refused here. */}}

{{- define "coatcheck.checkStore" -}}
{{- $broker := .Values.broker -}}
{{- $store := $broker.store -}}
{{- if and (eq $store.type "sqlite") (gt (int $broker.replicas) 1) -}}
{{- fail "broker.replicas: the store sqlite is one file of one broker; for more replicas set broker.store.type to postgres (or none)" -}}
{{- end -}}
{{- if and (eq $store.type "postgres") (not $store.postgres.secretName) -}}
{{- fail "broker.store.postgres.secretName: is required with postgres: a Secret whose key (broker.store.postgres.secretKey) holds postgres://USER:PASSWORD@HOST/DATABASE" -}}
{{- end -}}
{{- if and (eq $store.type "none") $broker.keyEncryption.secretName -}}
{{- fail "broker.keyEncryption.secretName: needs a store that keeps the signing keys; without one they come from broker.signingKeys.secretName" -}}
{{- end -}}
{{- if and (eq $store.type "none") $broker.bootstrapToken.secretName -}}
{{- fail "broker.bootstrapToken.secretName: needs a store" -}}
{{- end -}}
{{- end -}}

{{/*
For the notes alone: asks the cluster, where there is one (`helm template` sees none), whether it has a default StorageClass.
*/}}
{{- define "coatcheck.storageClassNote" -}}
{{- $persistence := .Values.broker.store.persistence -}}
{{- if not (or $persistence.storageClass $persistence.existingClaim) -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
{{- $default := "" -}}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items -}}
{{- if eq "true" (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) -}}
{{- $default = .metadata.name -}}
{{- end -}}
{{- end -}}
{{- if not $default }}

ATTENTION: this cluster has no default StorageClass, so the volume stays Pending, and the broker with it. Choose one:
     kubectl get storageclass
     broker.store.persistence.storageClass     one of these
     broker.store.persistence.existingClaim    a claim of your own
     broker.store.persistence.enabled=false    no volume, for a try: what is kept ends with the pod
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* For the notes: the Secrets that somebody must bring, where certificates are none of them. */}}
{{- define "coatcheck.broughtNote" -}}
{{- $broker := .Values.broker -}}
{{- if $broker.enabled -}}
{{- if $broker.keyEncryption.secretName }}
   The broker needs the Secret {{ $broker.keyEncryption.secretName }}: keys that seal the signing keys in the store.
{{- else if not (include "coatcheck.generatedKey" .) }}
   The broker needs the Secret {{ include "coatcheck.signingKeysSecret" . }}: private keys that sign client tokens, one per entry.
{{- end }}
{{- if eq $broker.store.type "postgres" }}
   The broker needs the Secret {{ $broker.store.postgres.secretName }}, {{ $broker.store.postgres.secretKey }}: the URL of the database.
{{- end }}
{{- with $broker.bootstrapToken.secretName }}
   The broker needs the Secret {{ . }}: the token of the first administrator.
{{- end }}
{{- end -}}
{{- end -}}

{{- define "coatcheck.storeVariables" -}}
{{- $broker := .Values.broker -}}
{{- $store := $broker.store -}}
{{- if eq $store.type "sqlite" }}
{{- include "coatcheck.variable" (list "COATCHECK_STORE" "sqlite:/var/lib/coatcheck/store.db") }}
{{- else if eq $store.type "postgres" }}
{{- include "coatcheck.variable" (list "COATCHECK_STORE_FILE" (printf "/etc/coatcheck/store/%s" $store.postgres.secretKey)) }}
{{- end }}
{{- if ne $store.type "none" }}
{{- include "coatcheck.variable" (list "COATCHECK_STORE_AWAY_SECONDS" (int $store.awaySeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_KEEP_DECISIONS_SECONDS" (int $store.keepDecisionsSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_MAX_DECISIONS" (int $store.maxDecisions)) }}
{{- end }}
{{- if include "coatcheck.sealsKeys" . }}
{{- include "coatcheck.variable" (list "COATCHECK_KEY_ENCRYPTION_KEYS_DIR" "/etc/coatcheck/key-encryption-keys") }}
{{- include "coatcheck.variable" (list "COATCHECK_SIGNING_ALGORITHM" $broker.keyEncryption.signingAlgorithm) }}
{{- include "coatcheck.variable" (list "COATCHECK_SIGNING_KEY_ROTATION_SECONDS" (int $broker.keyEncryption.rotationSeconds)) }}
{{- else }}
{{- include "coatcheck.variable" (list "COATCHECK_SIGNING_KEYS_DIR" "/etc/coatcheck/signing-keys") }}
{{- end }}
{{- if $broker.bootstrapToken.secretName }}
{{- include "coatcheck.variable" (list "COATCHECK_BOOTSTRAP_TOKEN_FILE" (printf "/etc/coatcheck/bootstrap/%s" $broker.bootstrapToken.secretKey)) }}
{{- include "coatcheck.variable" (list "COATCHECK_BOOTSTRAP_TTL_SECONDS" (int $broker.bootstrapToken.ttlSeconds)) }}
{{- end }}
{{- end -}}

{{- define "coatcheck.storeMounts" -}}
{{- $broker := .Values.broker -}}
{{- if include "coatcheck.sealsKeys" . }}
- { name: key-encryption-keys, mountPath: /etc/coatcheck/key-encryption-keys, readOnly: true }
{{- else }}
- { name: signing-keys, mountPath: /etc/coatcheck/signing-keys, readOnly: true }
{{- end }}
{{- if eq $broker.store.type "sqlite" }}
- { name: store, mountPath: /var/lib/coatcheck }
{{- else if eq $broker.store.type "postgres" }}
- { name: store, mountPath: /etc/coatcheck/store, readOnly: true }
{{- end }}
{{- if $broker.bootstrapToken.secretName }}
- { name: bootstrap, mountPath: /etc/coatcheck/bootstrap, readOnly: true }
{{- end }}
{{- end -}}

{{- define "coatcheck.storeVolumes" -}}
{{- $broker := .Values.broker -}}
{{- $store := $broker.store -}}
{{- $generated := include "coatcheck.generatedKey" . -}}
{{- if eq $generated "encryption" }}
- name: key-encryption-keys
  secret:
    secretName: {{ include "coatcheck.certificatesSecret" . }}
    items:
      - { key: encryption-key, path: 0-generated }
{{- else if eq $generated "signing" }}
- name: signing-keys
  secret:
    secretName: {{ include "coatcheck.certificatesSecret" . }}
    items:
      - { key: signing-key.pem, path: 0-generated.pem }
{{- else if $broker.keyEncryption.secretName }}
- name: key-encryption-keys
  secret:
    secretName: {{ $broker.keyEncryption.secretName }}
{{- else }}
- name: signing-keys
  secret:
    secretName: {{ include "coatcheck.signingKeysSecret" . }}
{{- end }}
{{- if eq $store.type "sqlite" }}
- name: store
  {{- if $store.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ $store.persistence.existingClaim | default (include "coatcheck.name" (list . "store")) }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- else if eq $store.type "postgres" }}
- name: store
  secret:
    secretName: {{ $store.postgres.secretName }}
    items:
      - { key: {{ $store.postgres.secretKey | quote }}, path: {{ $store.postgres.secretKey | quote }} }
{{- end }}
{{- with $broker.bootstrapToken.secretName }}
- name: bootstrap
  secret:
    secretName: {{ . }}
{{- end }}
{{- end -}}

{{/* As the webhook's, and a group that may write the volume. */}}
{{- define "coatcheck.brokerSecurity" -}}
{{- $broker := deepCopy .Values.broker -}}
{{- $group := int $broker.store.persistence.fsGroup -}}
{{- if and (eq $broker.store.type "sqlite") $group (not (hasKey $broker.podSecurityContext "fsGroup")) -}}
{{- $_ := set $broker.podSecurityContext "fsGroup" $group -}}
{{- end -}}
{{- include "coatcheck.podSecurity" (list (dict "Values" (dict "broker" $broker)) "broker") -}}
{{- end -}}
