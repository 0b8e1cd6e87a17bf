// A mesh as far as admission goes: a second mutating webhook, a real HTTPS server, that adds containers to pods of its
// namespaces the way the injectors of Istio, Linkerd and Kuma do, and remembers what it was shown.
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { AdmissionReview, Json, JsonObject } from '../../../common/protocol/admission.ts';
import { keep } from '../../support/tokens.ts';
import { RESTRICTED } from '../harness/node/app.ts';
import type { NodeCluster } from '../harness/node/suite.ts';
import { createServingFiles } from '../harness/pki.ts';

/** The uid of Istio's and of Linkerd's proxies is another one than the app's; this one is Istio's. */
const MESH_UID = 1337;

export interface MeshOptions {
  /** Of the MutatingWebhookConfiguration: the API server calls them in the order of their names. */
  name: string;
  namespaceLabels: Readonly<Record<string, string>>;
}

export interface Mesh {
  register(options: MeshOptions): Promise<void>;
  /** The pods of this name as they were shown, in that order. */
  getShown(pod: string): readonly JsonObject[];
  stop(): Promise<void>;
}

type Operation = { op: 'add'; path: string; value: Json };

/** What is added, by the pod's label `mesh`. */
const STYLES: Readonly<
  Record<string, readonly { list: string; at: number | '-'; name: string }[]>
> = {
  // An init container that would redirect traffic, and a proxy beside the app.
  classic: [
    { list: 'initContainers', at: 0, name: 'istio-init' },
    { list: 'containers', at: '-', name: 'istio-proxy' },
    { list: 'containers', at: '-', name: 'other-agent' },
  ],
  // The same at the end of the init containers and at the head of the containers.
  appended: [
    { list: 'initContainers', at: '-', name: 'istio-init' },
    { list: 'containers', at: 0, name: 'istio-proxy' },
  ],
  // The proxy as a native sidecar before everything else, and one of a name that nobody skips behind everything.
  native: [
    { list: 'initContainers', at: 0, name: 'istio-proxy' },
    { list: 'initContainers', at: '-', name: 'other-agent' },
  ],
};

/** Listens on the node's address until it is stopped; `folder` must exist. */
export async function startMesh(cluster: NodeCluster, folder: string): Promise<Mesh> {
  const { address } = cluster.node;
  const files = createServingFiles(folder, [address], Date.now());
  const shown: JsonObject[] = [];
  const server = createServer(
    { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.once('end', () => {
        const review = JSON.parse(Buffer.concat(chunks).toString()) as AdmissionReview;
        shown.push(review.request?.object ?? {});
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(answer(review, cluster)));
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo;
  const collection = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
  const registered: string[] = [];
  return {
    register: async (options) => {
      const clientConfig = {
        url: `https://${address}:${port}/`,
        caBundle: Buffer.from(files.ca).toString('base64'),
      };
      const { status, body } = await cluster.request(
        'POST',
        collection,
        toConfiguration(options, clientConfig),
      );
      if (status !== 201) throw new Error(`the mesh was not registered: ${String(body.message)}`);
      registered.push(options.name);
    },
    getShown: (pod) =>
      shown.filter(({ metadata }) => (metadata as { name?: string } | undefined)?.name === pod),
    stop: async () => {
      keep('shown-to-mesh.json', JSON.stringify(shown, undefined, 1));
      for (const name of registered) await cluster.request('DELETE', `${collection}/${name}`);
      await close(server);
    },
  };
}

function toConfiguration({ name, namespaceLabels }: MeshOptions, clientConfig: object): object {
  return {
    metadata: { name },
    webhooks: [
      {
        name: 'injector.mesh.example.org',
        admissionReviewVersions: ['v1'],
        clientConfig,
        rules: [
          { apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] },
        ],
        namespaceSelector: { matchLabels: namespaceLabels },
        failurePolicy: 'Fail',
        sideEffects: 'None',
        // The API's default: it is asked once.
        reinvocationPolicy: 'Never',
      },
    ],
  };
}

function answer({ request }: AdmissionReview, cluster: NodeCluster): object {
  const operations = toOperations(request?.object ?? {}, cluster);
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid: request?.uid,
      allowed: true,
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
    },
  };
}

/** Adds what is not there: like the real ones, it may be asked again. */
function toOperations(pod: JsonObject, cluster: NodeCluster): readonly Operation[] {
  const { labels = {} } = pod.metadata as { labels?: Record<string, string> };
  const spec = pod.spec as Record<string, readonly { name: string }[] | undefined>;
  const style = labels.mesh ?? '';
  const wanted = (STYLES[style] ?? []).filter(
    ({ list, name }) => !(spec[list] ?? []).some((container) => container.name === name),
  );
  const isAbsent =
    spec.initContainers === undefined && wanted.some(({ list }) => list !== 'containers');
  return [
    ...(isAbsent ? [{ op: 'add' as const, path: '/spec/initContainers', value: [] }] : []),
    ...wanted.map(
      ({ list, at, name }): Operation => ({
        op: 'add',
        path: `/spec/${list}/${at}`,
        value: toContainer(cluster, name, list === 'initContainers' ? style : 'app'),
      }),
    ),
  ];
}

function toContainer({ node }: NodeCluster, name: string, kind: string): Json {
  const isNative = kind === 'native';
  const isOnce = kind !== 'app' && !isNative;
  return {
    name,
    image: node.images['test-shell'] ?? '',
    imagePullPolicy: 'Never',
    command: ['sh', '-c', isOnce ? 'true' : 'exec sleep 100000'],
    ...(isNative && { restartPolicy: 'Always' }),
    securityContext: {
      ...RESTRICTED,
      capabilities: { drop: ['ALL'] },
      runAsUser: MESH_UID,
    },
  };
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
