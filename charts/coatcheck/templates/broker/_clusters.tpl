{{/* The table of clusters the broker believes: this one, by its API server's keys, and those of the values. */}}
{{- define "coatcheck.clusters" -}}
{{- $own := dict "name" .Values.cluster.name "kind" "kubernetes" "own" true "issuers" .Values.cluster.issuers "validation" .Values.cluster.validation "keys" (dict "apiServer" dict) -}}
{{- toYaml (dict "clusters" (prepend .Values.clusters $own)) -}}
{{- end -}}
