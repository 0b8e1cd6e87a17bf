{{/* The table of clusters the broker believes: this one, by its API server's keys, and those of the values. */}}
{{- define "coatcheck.clusters" -}}
{{- $own := dict "name" .Values.cluster.name "kind" "kubernetes" "own" true "issuers" .Values.cluster.issuers "validation" .Values.cluster.validation "keys" (dict "apiServer" dict) -}}
{{- /* A choice only where there is one; the broker refuses it elsewhere. */ -}}
{{- if eq .Values.cluster.validation "hybrid" -}}
{{- $_ := set $own "onReviewUnavailable" .Values.cluster.onReviewUnavailable -}}
{{- end -}}
{{- if .Values.controller.enabled -}}
{{- $_ := set $own "controller" (dict "namespace" .Release.Namespace "serviceAccount" (include "coatcheck.name" (list . "controller"))) -}}
{{- end -}}
{{- toYaml (dict "clusters" (prepend .Values.clusters $own)) -}}
{{- end -}}
