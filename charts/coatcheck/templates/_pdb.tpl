{{- define "coatcheck.podDisruptionBudget" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- /* With one replica it would only keep nodes from being drained. */ -}}
{{- if and $part.podDisruptionBudget.enabled (gt (include "coatcheck.leastReplicas" . | int) 1) }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "coatcheck.name" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "coatcheck.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $part.podDisruptionBudget.maxUnavailable }}
  # A replica that never became ready must not stop the draining of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "coatcheck.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
