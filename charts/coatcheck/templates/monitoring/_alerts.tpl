{{/*
What is worth waking somebody for, or telling them. `docs/operations.md` has a heading for each, by its name.
A counter that was never touched has no series, so `increase` sees its first step only from the second scrape on.
*/}}
{{- define "coatcheck.alerts" -}}
{{- $values := .root.Values -}}
{{- $ours := .ours -}}
{{- $name := include "coatcheck.name" (list .root "broker") -}}
{{- /* Ours are renewed with a third of their life left. */ -}}
{{- $quarter := div (int64 $values.certificates.leafLifetimeSeconds) 4 -}}
{{- $notice := ternary 86400 (min 86400 $quarter) (eq $values.certificates.mode "provided") -}}
- alert: CoatcheckWebhookDown
  expr: absent(coatcheck_webhook_requests_in_flight{ {{- $ours -}} })
  for: 5m
  severity: critical
  summary: No webhook is seen; annotated pods cannot be created while none answers.
- alert: CoatcheckWebhookFailing
  expr: sum(increase(coatcheck_webhook_requests_total{ {{- $ours }},outcome="failed"}[10m])) > 0
  severity: critical
  summary: The webhook fails by its own fault; the pods it was asked about are not created.
- alert: CoatcheckWebhookRefusing
  expr: sum(increase(coatcheck_webhook_requests_total{ {{- $ours }},outcome="denied"}[15m])) > 10
  for: 15m
  severity: info
  summary: Pods with wrong annotations are refused, again and again.
- alert: CoatcheckCertificateExpiring
  expr: >-
    min({__name__=~"coatcheck_(webhook|broker)_certificate_not_after_seconds",{{ $ours }}}) - time() < {{ $notice }}
  for: 15m
  severity: critical
  summary: A serving certificate ends soon, within a day at most, and was not renewed.
- alert: CoatcheckReloadFailing
  expr: >-
    (sum(increase(coatcheck_broker_reload_failures_total{ {{- $ours }}}[15m])) or vector(0))
    + (sum(increase(coatcheck_webhook_reloads_total{ {{- $ours }},result="refused"}[15m])) or vector(0)) > 0
  for: 15m
  severity: warning
  summary: A changed file (certificate, key, CA bundle) cannot be used; the one before stays.
{{- if $values.broker.enabled }}
- alert: CoatcheckBrokerNotReady
  expr: >-
    absent(coatcheck_broker_roles{ {{- $ours }}})
    or kube_deployment_status_replicas_available{ {{- $ours }},deployment="{{ $name }}"} == 0
  for: 3m
  severity: critical
  summary: No broker is ready; nobody gets a new token.
- alert: CoatcheckDecisionsFailing
  expr: sum(increase(coatcheck_broker_decisions_total{ {{- $ours }},outcome="failure"}[10m])) > 0
  for: 5m
  severity: critical
  summary: The broker answers 503 or 500 to callers who may be right.
{{- if ne $values.broker.store.type "none" }}
- alert: CoatcheckStoreAway
  expr: min(coatcheck_broker_store_up{ {{- $ours }}}) == 0
  for: 1m
  severity: critical
  summary: A broker does not reach its store; it answers from memory for {{ $values.broker.store.awaySeconds }} s and then refuses.
- alert: CoatcheckDecisionsDropped
  expr: sum(increase(coatcheck_broker_decisions_dropped_total{ {{- $ours }},reason!="unproven"}[15m])) > 0
  for: 15m
  severity: warning
  summary: Decisions are in the audit trail and cannot be looked up; the store is away or too slow.
- alert: CoatcheckSigningKeysUnreadable
  expr: max(coatcheck_broker_signing_keys_unreadable{ {{- $ours }}}) > 0
  severity: critical
  summary: No sealing key here opens a signing key of the store.
{{- end }}
- alert: CoatcheckReviewCredentialRefused
  expr: >-
    (sum(increase(coatcheck_broker_token_reviews_total{ {{- $ours }},outcome="credential_refused"}[10m])) or vector(0))
    + (sum(increase(coatcheck_broker_cluster_keys_events_total{ {{- $ours }},event="credential_refused"}[10m])) or vector(0)) > 0
  severity: critical
  summary: An API server refuses the broker's own credential.
- alert: CoatcheckReviewsUnavailable
  expr: sum by (cluster) (increase(coatcheck_broker_token_reviews_total{ {{- $ours }},outcome="unavailable"}[10m])) > 0
  for: 5m
  severity: warning
  summary: The API server of a cluster does not answer TokenReviews.
- alert: CoatcheckKeysStale
  expr: time() - max by (cluster) (coatcheck_broker_cluster_keys_loaded_timestamp_seconds{ {{- $ours }}}) > 3600
  for: 5m
  severity: critical
  summary: The public keys of a cluster or issuer were not fetched for an hour.
- alert: CoatcheckKeysFetchFailing
  expr: sum by (cluster) (increase(coatcheck_broker_cluster_keys_events_total{ {{- $ours }},event="failed"}[15m])) > 0
  for: 15m
  severity: warning
  summary: The public keys of a cluster or issuer cannot be fetched; the last good ones are in use.
{{- $shared := printf "coatcheck_broker_cluster_keys_events_total{%s,event=\"shared_key\"}" $ours }}
- alert: CoatcheckKeyShared
  # Keys of a file are read once: their series begins with its only step, which `increase` does not see.
  expr: >-
    sum by (cluster) (increase({{ $shared }}[15m])) > 0
    or (sum by (cluster) ({{ $shared }}) > 0 unless sum by (cluster) ({{ $shared }} offset 15m))
  severity: critical
  summary: One key is published by two clusters; whose token it signed cannot be told.
- alert: CoatcheckRoleProblems
  expr: max(coatcheck_broker_role_problems{ {{- $ours }}}) > 0
  for: 15m
  severity: warning
  summary: A role file or TokenRole is not in use as it stands.
- alert: CoatcheckRightsMissing
  expr: max(coatcheck_broker_rights_missing{ {{- $ours }}}) > 0
  for: 15m
  severity: warning
  summary: RBAC does not give the broker what its configuration needs.
{{- end }}
{{- if $values.controller.enabled }}
{{- if $values.broker.enabled }}
{{- $own := printf "cluster=%q" $values.cluster.name }}
{{- $others := printf "cluster!=%q" $values.cluster.name }}
- alert: CoatcheckNoLiveReport
  # Controllers of other clusters tell one replica, whichever they reach.
  expr: >-
    (max by (cluster) (coatcheck_broker_live_report_age_seconds{ {{- $ours }},{{ $own }}})
    or min by (cluster) (coatcheck_broker_live_report_age_seconds{ {{- $ours }},{{ $others }}})) > {{ max 600 (mul 2 (int $values.controller.liveSetSeconds)) }}
  for: 5m
  severity: warning
  summary: The controller of a cluster does not say who lives; tokens of pods that died meanwhile are still good.
{{- end }}
{{- if include "coatcheck.pushesKeys" .root }}
- alert: CoatcheckKeysNotPushed
  expr: time() - max(coatcheck_controller_keys_pushed_timestamp_seconds{ {{- $ours }}}) > 7200
  for: 5m
  severity: critical
  summary: The broker in the other cluster does not take this cluster's public keys; with a new key, or after a day, it refuses every token from here.
{{- end }}
- alert: CoatcheckControllerNotLeading
  expr: (sum(coatcheck_controller_leader{ {{- $ours }}}) or vector(0)) != 1
  for: 3m
  severity: warning
  summary: No controller acts, or two do.
- alert: CoatcheckControllerNotWatching
  expr: min by (collection) (coatcheck_controller_watching{ {{- $ours }}}) == 0
  for: 5m
  severity: warning
  summary: A controller cannot follow what happens in the cluster.
{{- if eq $values.certificates.mode "controller" }}
- alert: CoatcheckCaBundleNotInjected
  expr: min(coatcheck_controller_ca_bundle_injected{ {{- $ours }}}) == 0
  for: 15m
  severity: critical
  summary: The API server cannot be told the authority of the webhook; after the next change of it annotated pods are refused.
- alert: CoatcheckCertificatesNotKept
  expr: sum(increase(coatcheck_controller_certificate_failures_total{ {{- $ours }},step=~"read|write|lost|clock"}[15m])) > 0
  for: 5m
  severity: critical
  summary: The Secret of the certificates cannot be read or written, an authority or its key was lost, or the controller's clock differs from the API server's.
{{- end }}
- alert: CoatcheckPodsMissedInjection
  expr: max(coatcheck_controller_missed_pods{ {{- $ours }}}) > 0
  for: 10m
  severity: warning
  summary: Annotated pods run without injection; they get no client token.
{{- end }}
{{- end -}}
