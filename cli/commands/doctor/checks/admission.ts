// The whole way of an annotated pod through the API server and the webhook, by a dry run that stores nothing: whether the
// webhook is reached, believed, and injects.
import type { PersonAnswer } from '../../../../common/kube/person-client.ts';
import { IDENTITY_VOLUME, TOKENS_VOLUME } from '../../../../common/protocol/pod.ts';
import type { CheckContext, Finding } from '../check.ts';
import type { Installation } from '../installation.ts';
import { findObject, findStatus, type Metadata, MissingRight, toRight } from '../kube.ts';
import { clean } from './pods.ts';
import {
  findWebhook,
  matchesSelector,
  type NamespaceSelector,
  WEBHOOK_NAME,
} from './registration.ts';

const DEFAULT_PREFIX = 'auth.example.io/';
const FAILED = `failed calling webhook "${WEBHOOK_NAME}"`;

export async function checkAdmission(
  context: CheckContext & { readonly installation?: Installation },
): Promise<readonly Finding[]> {
  const { kube, installation } = context;
  const namespace = await chooseNamespace(context);
  if (namespace === undefined)
    return [
      {
        state: 'unknown',
        seen: 'no namespace is known whose pods the webhook is asked about',
        mend: 'name one with --probe-namespace; see webhook.namespaceSelector and excludeNamespaces',
      },
    ];
  const collection = { resource: 'pods', namespace };
  const prefix = installation?.prefix ?? DEFAULT_PREFIX;
  const answer = await kube.create(
    collection,
    toProbe(context.randomName(), prefix),
    '?dryRun=All&fieldValidation=Ignore',
  );
  if (answer.status === 403 && isRightMissing(answer))
    throw new MissingRight(`${toRight('create', collection)} (as a dry run)`);
  const judged =
    answer.status === 201 ? judgeStored(answer, installation) : judgeRefused(answer, installation);
  return [{ about: `in ${namespace}`, ...judged }];
}

/** RBAC's own words, and not those of a policy, a quota or Pod Security, which are 403 too. */
function isRightMissing(answer: PersonAnswer): boolean {
  return /cannot create resource "pods"/.test(findStatus(answer)?.message ?? '');
}

interface Namespace {
  readonly metadata: Metadata;
  readonly status?: { readonly phase?: string };
}

/** What was asked for; else the person's own, then `default`, then any, as far as the webhook takes their pods. */
async function chooseNamespace(
  context: CheckContext & { readonly installation?: Installation },
): Promise<string | undefined> {
  const { kube, installation, probeNamespace, personNamespace } = context;
  if (probeNamespace !== undefined) return probeNamespace;
  const own = installation && (await findWebhook({ kube, installation }).catch(() => undefined));
  if (!own) return personNamespace;
  const selector: NamespaceSelector = own.webhook.namespaceSelector ?? {};
  const listed = await kube.list<Namespace>({ resource: 'namespaces' }).catch(() => undefined);
  if (!listed) return personNamespace;
  const covered = listed.items
    .filter(({ status }) => status?.phase !== 'Terminating')
    .filter(({ metadata }) => matchesSelector(selector, metadata.labels ?? {}))
    .map(({ metadata }) => metadata.name)
    .sort();
  return [personNamespace, 'default'].find((name) => covered.includes(name)) ?? covered[0];
}

/** Passes Pod Security `restricted`; it is never run. */
function toProbe(name: string, prefix: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, annotations: { [`${prefix}audience`]: 'coatcheck-doctor' } },
    spec: {
      containers: [
        {
          name: 'app',
          image: 'coatcheck-doctor.invalid/none:1',
          resources: {
            requests: { cpu: '1m', memory: '1Mi' },
            limits: { cpu: '1m', memory: '1Mi' },
          },
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            runAsNonRoot: true,
            runAsUser: 65532,
            seccompProfile: { type: 'RuntimeDefault' },
          },
        },
      ],
    },
  };
}

function judgeStored({ text }: PersonAnswer, installation: Installation | undefined): Finding {
  const { spec } = (findObject(text) ?? {}) as { spec?: { volumes?: { name: string }[] } };
  const volumes = (spec?.volumes ?? []).map(({ name }) => name);
  if ([IDENTITY_VOLUME, TOKENS_VOLUME].every((name) => volumes.includes(name)))
    return { state: 'ok', seen: 'an annotated pod is injected (dry run)' };
  return {
    state: 'problem',
    seen: 'an annotated pod is stored without being injected (dry run)',
    means:
      'pods start without a token: the API server does not ask the webhook, or another one takes its work away',
    mend: installation
      ? 'look at the rows webhook-registration and other-webhooks; is the prefix of the annotations the one of the installation?'
      : 'is Coatcheck installed, and does it take this namespace (webhook.namespaceSelector)?',
  };
}

/** From the API server's words (Go's net and x509 errors) to what is wrong; the first that fits. */
const CAUSES: readonly { readonly says: RegExp; readonly seen: string; readonly mend: string }[] = [
  {
    says: /x509: certificate signed by unknown authority|x509: .*unable to (load|parse)/,
    seen: 'the caBundle of the registration is not the authority that signed the certificate of the webhook',
    mend: 'docs/operations.md#the-cabundle-and-the-certificate-differ',
  },
  {
    says: /x509: certificate has expired or is not yet valid/,
    seen: 'the certificate of the webhook has expired, or a clock is wrong',
    mend: 'docs/operations.md#a-certificate-has-expired',
  },
  {
    says: /x509: certificate is (valid for|not valid for)|x509: .*(doesn't contain|not contain)/,
    seen: 'the certificate of the webhook is for other names than those of its Service',
    mend: 'make it for <release>-webhook.<namespace>.svc',
  },
  {
    says: /no endpoints available|connection refused/,
    seen: 'no pod of the webhook answers',
    mend: 'look at the rows deployments and pods',
  },
  {
    says: /service ".*" not found|no such host/,
    seen: 'the Service of the webhook does not exist',
    mend: 'helm upgrade; or delete the registration if the release is gone',
  },
  {
    says: /deadline exceeded|i\/o timeout|no route to host|Client\.Timeout|EOF/,
    seen: 'the API server cannot reach the pods of the webhook in time',
    mend: 'open the port of the webhook from the control plane to the nodes (private GKE: webhook.port=10250; EKS with an overlay network: webhook.hostNetwork=true); docs/operations.md#the-webhook-is-not-reached',
  },
];

function judgeRefused(answer: PersonAnswer, installation: Installation | undefined): Finding {
  const message = findStatus(answer)?.message ?? `status ${answer.status}`;
  if (!message.includes(FAILED)) {
    return {
      state: 'unknown',
      seen: `the dry run was refused by something else: ${clean(message)}`,
      mend: 'name a namespace where pods may be made: --probe-namespace',
    };
  }
  const cause = CAUSES.find(({ says }) => says.test(message));
  const logs = installation?.parts.webhook
    ? `kubectl -n ${installation.namespace} logs deployment/${installation.parts.webhook.metadata.name}`
    : 'the log of the webhook';
  return {
    state: 'problem',
    seen: `${cause?.seen ?? 'the webhook fails'}: ${clean(message)}`,
    means: 'annotated pods are not created; others are',
    mend: cause?.mend ?? logs,
  };
}
