{{/* Who decides how many pods there are. Each takes (list $ "webhook"). */}}

{{/* The least there are: what a budget for disruptions and the topology may count on. */}}
{{- define "coatcheck.leastReplicas" -}}
{{- $part := index (index . 0).Values (index . 1) -}}
{{- $autoscaling := dig "autoscaling" dict $part -}}
{{- ternary (dig "minReplicas" 0 $autoscaling) $part.replicas (dig "enabled" false $autoscaling) | int -}}
{{- end -}}

{{/* Of a Deployment: no number where the autoscaler writes it, or each upgrade would undo what it did. */}}
{{- define "coatcheck.replicas" -}}
{{- $part := index (index . 0).Values (index . 1) -}}
{{- if not $part.autoscaling.enabled }}
replicas: {{ $part.replicas }}
{{- end }}
revisionHistoryLimit: {{ (index . 0).Values.revisionHistoryLimit }}
{{- end -}}

{{- define "coatcheck.autoscaler" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- $autoscaling := $part.autoscaling -}}
{{- if $autoscaling.enabled }}
{{- if lt (int $autoscaling.maxReplicas) (int $autoscaling.minReplicas) }}
{{- fail (printf "%s.autoscaling.maxReplicas: is %d, less than minReplicas, %d" (index . 1) (int $autoscaling.maxReplicas) (int $autoscaling.minReplicas)) }}
{{- end }}
{{- if not (dig "requests" "cpu" "" $part.resources) }}
{{- fail (printf "%s.autoscaling.enabled: needs %s.resources.requests.cpu, which the target is a percentage of" (index . 1) (index . 1)) }}
{{- end }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "coatcheck.name" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "coatcheck.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "coatcheck.name" . }}
  minReplicas: {{ $autoscaling.minReplicas }}
  maxReplicas: {{ $autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ $autoscaling.targetCPUUtilizationPercentage }} }
{{- end }}
{{- end -}}
