// Step 4: nothing annotated is stored that is not injected exactly. The author of a pod cannot bring a container of ours of
// his own; without the mutating policy only an exact copy passes; containers that a webhook adds later are served as well.

import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import path from 'node:path';
import { expect } from 'chai';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { SETTINGS } from '../../webhook/golden.ts';
import { register, toPod } from '../api-server/stage.ts';
import { type ApiAnswer, type Cluster, openCluster } from '../harness/cluster.ts';
import { createServingFiles } from '../harness/pki.ts';
import { waitFor } from '../harness/process.ts';
import { findCode } from './compare.ts';
import {
  needPolicies,
  type PolicyStage,
  type PolicyVersion,
  setPolicyStage,
  waitForPolicy,
} from './stage.ts';

interface Mount {
  name: string;
  mountPath: string;
  readOnly?: boolean;
}
interface Container {
  name: string;
  image: string;
  command?: string[];
  env: { name: string; value: string }[];
  volumeMounts: Mount[];
  securityContext?: { runAsUser?: number };
}
interface Pod {
  metadata: { annotations: Record<string, string> };
  spec: {
    initContainers: [Container, ...Container[]];
    containers: [Container, ...Container[]];
    volumes: {
      name: string;
      projected?: { sources: { serviceAccountToken?: { audience: string } }[] };
    }[];
  };
}

const ANNOTATIONS = { 'auth.example.io/audience': 'payments' };

describe('policy mode, step 4: defence', function () {
  this.timeout(180_000);
  let cluster: Cluster;
  let version: PolicyVersion;
  let stage: PolicyStage;

  before(async function () {
    cluster = openCluster();
    version = await needPolicies(this, cluster);
    stage = await setPolicyStage(version, SETTINGS);
  });
  after(() => stage?.clear());

  const getPod = ({ status, body }: ApiAnswer): Pod => {
    expect(status, String(body.message)).to.equal(201);
    return body as unknown as Pod;
  };
  const copy = async () => {
    const { metadata, spec } = structuredClone(
      getPod(await stage.try(toPod('app', { annotations: ANNOTATIONS }))),
    );
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'app', annotations: metadata.annotations },
      spec,
    };
  };
  const send = (pod: object) => stage.try(pod as JsonObject);

  it('replaces a container of our name that the author brings', async () => {
    const own = { name: 'coatcheck-exchange', image: 'attacker.example/x:1', command: ['/steal'] };
    const pod = toPod('app', { annotations: ANNOTATIONS, spec: { initContainers: [own] } });
    const { spec } = getPod(await send(pod));
    expect(spec.initContainers).to.have.length(1);
    expect(spec.initContainers[0].image).to.equal(SETTINGS.image);
    expect(spec.initContainers[0].command).to.deep.equal(['/coatcheck-exchange']);
  });

  it('gives the tokens to a container that a webhook adds afterwards', async () => {
    const folder = path.join(cluster.facts.workFolder, `policy-${Date.now()}`);
    mkdirSync(folder);
    const host = cluster.facts.callbackHost ?? '127.0.0.1';
    const files = createServingFiles(folder, [host], Date.now());
    const server = await startAdder(files);
    const { port } = server.address() as { port: number };
    const unregister = await register(cluster, `adder-${port}`, [
      {
        name: 'adder',
        url: `https://${host}:${port}/`,
        ca: files.ca,
        namespaceLabels: { 'kubernetes.io/metadata.name': stage.namespace.name },
      },
    ]);
    try {
      const pod = toPod('app', {
        annotations: ANNOTATIONS,
        spec: { containers: [{ name: 'app', image: 'x', securityContext: { runAsUser: 1000 } }] },
      });
      const isAdded = async () => getPod(await send(pod)).spec.containers.length === 2;
      await waitFor(isAdded, { what: 'the API server to ask the other webhook' });
      const { spec, metadata } = getPod(await send(pod));
      const late = spec.containers[1];
      expect(late?.name).to.equal('late');
      expect(late?.volumeMounts.map(({ name }) => name)).to.include('coatcheck-tokens');
      expect(late?.env[0]?.name).to.equal('AUTH_TOKEN_FILE');
      // Two uids by now: ours is neither.
      expect(spec.initContainers[0].securityContext?.runAsUser).to.equal(undefined);
      expect(metadata.annotations['auth.example.io/status']).to.contain('{"name":"late"}');
    } finally {
      await unregister();
      server.close();
    }
  });

  describe('without the mutating policy', () => {
    let exact: Awaited<ReturnType<typeof copy>>;
    before(async () => {
      exact = await copy();
      await stage.remove('MutatingAdmissionPolicyBinding');
      const isGone = async () =>
        findCode(await send(toPod('app', { annotations: ANNOTATIONS }))) === 'not_injected';
      await waitForPolicy(isGone, 'the API server to forget the mutating policy');
    });

    it('refuses an annotated pod', async () => {
      const answer = await send(toPod('app', { annotations: ANNOTATIONS }));
      expect(findCode(answer)).to.equal('not_injected');
      expect(answer.body.message).to.contain('it did not run');
    });

    it('takes one without annotations', async () => {
      expect((await send(toPod('app'))).status).to.equal(201);
    });

    it('takes an exact copy of an injected pod', async () => {
      getPod(await send(exact));
    });

    const changes: readonly (readonly [string, (pod: Pod) => void])[] = [
      [
        'another image of ours',
        ({ spec }) => (spec.initContainers[0].image = 'attacker.example/x'),
      ],
      ['another command of ours', ({ spec }) => (spec.initContainers[0].command = ['/steal'])],
      [
        'arguments for ours',
        ({ spec }) => Object.assign(spec.initContainers[0], { args: ['--x'] }),
      ],
      [
        'a lifecycle hook of ours',
        ({ spec }) =>
          Object.assign(spec.initContainers[0], {
            lifecycle: { postStart: { exec: { command: ['/x'] } } },
          }),
      ],
      [
        'another broker',
        ({ spec }) => setVariable(spec.initContainers[0], 'COATCHECK_BROKER_URL', 'https://x'),
      ],
      [
        'another audience of ours',
        ({ spec }) => setVariable(spec.initContainers[0], 'COATCHECK_AUDIENCES', '[]'),
      ],
      [
        'a variable more of ours',
        ({ spec }) => spec.initContainers[0].env.push({ name: 'NODE_OPTIONS', value: 'x' }),
      ],
      [
        'a mount more of ours',
        ({ spec }) =>
          spec.initContainers[0].volumeMounts.push({ name: 'coatcheck-tokens', mountPath: '/x' }),
      ],
      [
        'a uid of ours',
        ({ spec }) =>
          Object.assign(spec.initContainers[0].securityContext ?? {}, {
            runAsUser: 0,
            runAsNonRoot: false,
          }),
      ],
      [
        'a privilege of ours',
        ({ spec }) =>
          Object.assign(spec.initContainers[0].securityContext ?? {}, {
            readOnlyRootFilesystem: false,
          }),
      ],
      ['no container of ours', ({ spec }) => spec.initContainers.splice(0, 1)],
      [
        'another audience of the ServiceAccount token',
        ({ spec }) => {
          for (const { projected } of spec.volumes)
            for (const { serviceAccountToken: token } of projected?.sources ?? [])
              if (token?.audience === 'payments') token.audience = 'ledger';
        },
      ],
      [
        'a tokens volume on disk',
        ({ spec }) => {
          const at = spec.volumes.findIndex(({ name }) => name === 'coatcheck-tokens');
          Object.assign(spec.volumes[at] ?? {}, { emptyDir: {} });
        },
      ],
      ['no mount in the app', ({ spec }) => removeMount(spec.containers[0])],
      ['no variables in the app', ({ spec }) => spec.containers[0].env.splice(0)],
    ];
    for (const [what, change] of changes) {
      it(`refuses a copy with ${what}`, async () => {
        const changed = structuredClone(exact);
        change(changed as unknown as Pod);
        expect(findCode(await send(changed))).to.equal('not_injected');
      });
    }

    const taken: readonly (readonly [string, (pod: Pod) => void])[] = [
      [
        'the identity volume in the app',
        ({ spec }) =>
          spec.containers[0].volumeMounts.push({ name: 'coatcheck-identity', mountPath: '/x' }),
      ],
      [
        'a writable second mount in the app',
        ({ spec }) =>
          spec.containers[0].volumeMounts.push({ name: 'coatcheck-tokens', mountPath: '/x' }),
      ],
    ];
    for (const [what, change] of taken) {
      it(`refuses a copy with ${what}`, async () => {
        const changed = structuredClone(exact);
        change(changed as unknown as Pod);
        expect(findCode(await send(changed))).to.equal('reserved_volume_mounted');
      });
    }
  });
});

function setVariable({ env }: Container, name: string, value: string): void {
  for (const variable of env) if (variable.name === name) variable.value = value;
}

function removeMount(container: Container): void {
  container.volumeMounts = container.volumeMounts.filter(({ name }) => name !== 'coatcheck-tokens');
}

/** A webhook of somebody else: adds a container to pods that have but one. */
async function startAdder(files: { certificateFile: string; keyFile: string }): Promise<Server> {
  const tls = { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) };
  const late = { name: 'late', image: 'x', securityContext: { runAsUser: 2000 } };
  const server = createServer(tls, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => {
      const { request: asked } = JSON.parse(Buffer.concat(chunks).toString());
      const isDone = asked.object.spec.containers.length > 1;
      const patch = isDone ? [] : [{ op: 'add', path: '/spec/containers/-', value: late }];
      const answer = {
        uid: asked.uid,
        allowed: true,
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      };
      response.setHeader('Content-Type', 'application/json');
      response.end(
        JSON.stringify({
          apiVersion: 'admission.k8s.io/v1',
          kind: 'AdmissionReview',
          response: answer,
        }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  return server;
}
