// The webhook's registration, as design and docs promise it: the API server sends exactly the pods that carry a key
// under the prefix. Names are written out here and not imported: what other people's clusters hold is a contract.

export interface WebhookRegistration {
  /** Last part of the webhook's name; unique within one configuration. */
  name: string;
  /** `https://…` with path. */
  url: string;
  /** PEM. */
  ca: string;
  prefix?: string;
  /** Only namespaces with all of these labels. A suite never touches namespaces of others. */
  namespaceLabels: Readonly<Record<string, string>>;
}

/** One MutatingWebhookConfiguration with an entry per registration. */
export function toWebhookConfiguration(
  name: string,
  registrations: readonly WebhookRegistration[],
): object {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks: registrations.map(toWebhook),
  };
}

function toWebhook({
  name,
  url,
  ca,
  prefix = 'auth.example.io/',
  namespaceLabels,
}: WebhookRegistration): object {
  return {
    name: `${name}.coatcheck.example.io`,
    admissionReviewVersions: ['v1'],
    clientConfig: { url, caBundle: Buffer.from(ca).toString('base64') },
    rules: [
      {
        apiGroups: [''],
        apiVersions: ['v1'],
        resources: ['pods'],
        operations: ['CREATE'],
        scope: 'Namespaced',
      },
    ],
    namespaceSelector: { matchLabels: namespaceLabels },
    matchConditions: [{ name: 'annotated', expression: toMatchExpression(prefix) }],
    failurePolicy: 'Fail',
    reinvocationPolicy: 'IfNeeded',
    sideEffects: 'None',
    timeoutSeconds: 5,
  };
}

/** Without `has()` every unannotated pod would be forbidden: a failed expression counts as a failed webhook. */
function toMatchExpression(prefix: string): string {
  return (
    'has(object.metadata.annotations) && ' +
    `object.metadata.annotations.exists(k, k.startsWith('${prefix}') && k != '${prefix}status')`
  );
}
