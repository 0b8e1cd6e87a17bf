// Whom the token is kept from unless a pod says otherwise: the preset of the operator's skip list.

/** Containers of meshes and agents: they run beside every app and have no business with its token. */
export const DEFAULT_SKIP_CONTAINERS: readonly string[] = [
  'istio-proxy',
  'istio-init',
  'istio-validation',
  'enable-core-dump',
  'linkerd-proxy',
  'linkerd-init',
  'linkerd-network-validator',
  'kuma-sidecar',
  'kuma-init',
  'kuma-validation',
  'consul-dataplane',
  'consul-connect-inject-init',
  'envoy-sidecar',
  'osm-init',
  'daprd',
  'vault-agent',
  'vault-agent-init',
  'azwi-proxy',
  'azwi-proxy-init',
  'datadog-agent',
  'datadog-agent-injector',
  'datadog-init-apm-inject',
  'cloud-sql-proxy',
  'gke-gcsfuse-sidecar',
];
