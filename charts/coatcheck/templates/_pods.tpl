{{/*
What the pods of webhook, broker and controller have in common: placement, security, probes, stopping. Each takes (list $ "webhook").
*/}}

{{/* (list "COATCHECK_X" value). The kubelet expands $(…) in values, so a dollar is written twice. */}}
{{- define "coatcheck.variable" }}
- name: {{ index . 0 }}
  value: {{ index . 1 | toString | replace "$" "$$" | quote }}
{{- end -}}

{{/* (list "COATCHECK_X" value): the same where there is a value; the program has a default of its own otherwise. */}}
{{- define "coatcheck.optionalVariable" -}}
{{- if index . 1 }}{{ include "coatcheck.variable" . }}{{ end -}}
{{- end -}}

{{- define "coatcheck.listenVariables" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- $host := $root.Values.listenHost -}}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end -}}
{{- include "coatcheck.variable" (list "COATCHECK_LISTEN" (printf "%s:%d" $host (int $part.port))) }}
{{- include "coatcheck.variable" (list "COATCHECK_OPERATIONS_LISTEN" (printf "%s:%d" $host (int $part.operationsPort))) }}
{{- with int (dig "adminListen" "port" 0 $part) }}
{{- include "coatcheck.variable" (list "COATCHECK_ADMIN_LISTEN" (printf "%s:%d" $host .)) }}
{{- end }}
{{- include "coatcheck.variable" (list "COATCHECK_TLS_CERT_FILE" "/etc/coatcheck/tls/tls.crt") }}
{{- include "coatcheck.variable" (list "COATCHECK_TLS_KEY_FILE" "/etc/coatcheck/tls/tls.key") }}
{{- include "coatcheck.variable" (list "COATCHECK_DRAIN_SECONDS" (int $part.drainSeconds)) }}
{{- include "coatcheck.variable" (list "COATCHECK_LOG_LEVEL" $root.Values.logLevel) }}
{{- end -}}

{{- define "coatcheck.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- range $key, $_ := $part.podAnnotations -}}
{{- /* The webhook would have to be up to start the webhook. */ -}}
{{- if hasPrefix $root.Values.prefix $key -}}
{{- fail (printf "%s.podAnnotations: %s is an annotation of our own; our pods would wait for themselves" (index $ 1) $key) -}}
{{- end -}}
{{- end -}}
labels:
  {{- toYaml (merge (include "coatcheck.labels" . | fromYaml) $part.podLabels) | nindent 2 }}
{{- end -}}

{{- define "coatcheck.placement" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := $part.topologySpreadConstraints | default (list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway")) }}
topologySpreadConstraints:
  {{- range $spread }}
  {{- /* Without a selector a constraint would count no pods. */}}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "coatcheck.selector" $ | fromYaml)) }}
  - {{ toYaml (hasKey . "labelSelector" | ternary . (merge $own .)) | nindent 4 | trim }}
  {{- end }}
{{- end -}}

{{/* Passes the Pod Security level `restricted`. No uid: the image's own, or what the platform (OpenShift) assigns. */}}
{{- define "coatcheck.podSecurity" -}}
{{- $part := index (index . 0).Values (index . 1) -}}
{{- $own := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
securityContext:
  {{- toYaml (mergeOverwrite $own (deepCopy $part.podSecurityContext)) | nindent 2 }}
{{- /* The sleep before the end, the drain, and some time to go. */}}
terminationGracePeriodSeconds: {{ add $part.preStopSeconds $part.drainSeconds 5 }}
{{- end -}}

{{- define "coatcheck.container" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- $ports := list (int (dig "port" 0 $part)) (int $part.operationsPort) (int (dig "adminListen" "port" 0 $part)) -}}
{{- if ne (len (without $ports 0)) (len (without $ports 0 | uniq)) -}}
{{- fail (printf "%s: its ports must differ (port, operationsPort%s); two of them are one and the same" (index . 1) (ternary ", adminListen.port" "" (hasKey $part "adminListen"))) -}}
{{- end -}}
name: {{ index . 1 }}
image: {{ include "coatcheck.imageReference" (list $root.Values.image $root.Chart.AppVersion) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [{{ index . 1 }}]
ports:
  {{- with $part.port }}
  - name: https
    containerPort: {{ int . }}
    protocol: TCP
  {{- end }}
  - name: operations
    containerPort: {{ int $part.operationsPort }}
    protocol: TCP
  {{- with int (dig "adminListen" "port" 0 $part) }}
  - name: admin
    containerPort: {{ . }}
    protocol: TCP
  {{- end }}
startupProbe:
  httpGet: { path: /livez, port: operations }
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: operations }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: operations }
  periodSeconds: 5
  timeoutSeconds: 3
{{- with int $part.preStopSeconds }}
lifecycle:
  preStop:
    {{- /* Until every node has taken the pod out of the Service it still gets connections. */}}
    sleep: { seconds: {{ . }} }
{{- end }}
resources:
  {{- toYaml $part.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
  readOnlyRootFilesystem: true
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- define "coatcheck.tlsVolume" -}}
- name: tls
  secret:
    {{- if eq (index . 0).Values.certificates.mode "controller" }}
    # The keys of this pod alone; until the controller has written them the kubelet holds the pod back.
    secretName: {{ include "coatcheck.certificatesSecret" (index . 0) }}
    items:
      - { key: {{ index . 1 }}.crt, path: tls.crt }
      - { key: {{ index . 1 }}.key, path: tls.key }
    {{- else }}
    secretName: {{ include "coatcheck.tlsSecret" . }}
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
    {{- end }}
{{- with include "coatcheck.caVolume" (index . 0) }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "coatcheck.tlsMounts" -}}
- { name: tls, mountPath: /etc/coatcheck/tls, readOnly: true }
{{- if include "coatcheck.hasBrokerCa" . }}
- { name: ca, mountPath: /etc/coatcheck/ca, readOnly: true }
{{- end }}
{{- end -}}

{{/* Pods and workloads of which namespaces: the registration and the policy agree. */}}
{{- define "coatcheck.namespaceSelector" -}}
{{- $selector := deepCopy .Values.webhook.namespaceSelector -}}
{{- with .Values.excludeNamespaces -}}
{{- $excluded := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" . -}}
{{- $_ := set $selector "matchExpressions" (append ($selector.matchExpressions | default list) $excluded) -}}
{{- end -}}
{{- toYaml $selector -}}
{{- end -}}
