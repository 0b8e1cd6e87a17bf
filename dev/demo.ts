// `make demo`: the main job on a bare machine. One annotation goes in, a client token in a file comes out, and a pod
// that no role grants anything shows how a refusal reads. Everything is the real product; only cluster and kubelet are
// played (dev/demo/ has the parts).
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { parse } from 'yaml';
import { command as explainCommand } from '../broker/commands/explain.ts';
import { systemClock } from '../common/clock.ts';
import type { JsonObject } from '../common/protocol/admission.ts';
import { DEFAULT_MOUNT_ROOT, TOKEN_FILE, TOKEN_JSON_FILE } from '../common/protocol/pod.ts';
import { scrubTokens } from '../common/secret.ts';
import { processEnvironment } from '../common/settings.ts';
import { admit } from './demo/admission.ts';
import { callJson } from './demo/https.ts';
import { LocalPod, type MutatedPod, type ProjectedToken } from './demo/kubelet.ts';
import { renderAdditions } from './demo/pod-text.ts';
import { type BuiltProgram, buildExchange } from './demo/program.ts';
import { createScreen, type Screen } from './demo/screen.ts';
import { DEMO_ISSUER, DEMO_MAX_TOKEN_TTL_SECONDS, type Stage, setStage } from './demo/stage.ts';
import { abbreviate, decodeToken, renderClaims } from './demo/token-text.ts';
import { DEMO_ROLES } from './roles.ts';

const EXAMPLE = path.join(import.meta.dirname, '../examples/pod.yaml');
const AUDIENCE = 'payments';

interface Demo {
  readonly screen: Screen;
  readonly stage: Stage;
  readonly program: BuiltProgram;
}

async function main(): Promise<void> {
  const hasColors = process.stdout.isTTY && !processEnvironment().NO_COLOR;
  const screen = createScreen((text) => process.stdout.write(text), hasColors);
  screen.say('Coatcheck: one annotation on a pod, a short-lived client token in a file.');
  const program = buildExchange();
  const stage = await setStage();
  const onSignal = () => void stage.strike().then(() => process.exit(1));
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const demo = { screen, stage, program };
    showStage(demo);
    await showGoodPod(demo);
    await showNearMiss(demo);
    showNext(screen);
  } finally {
    await stage.strike();
  }
}

function showStage({ screen, stage, program }: Demo): void {
  screen.title('The parts, on this machine');
  screen.say(
    `webhook       ${stage.webhookUrl}/mutate   the real one, over TLS`,
    `broker        ${stage.brokerUrl}   the real one, over TLS; roles and keys from files`,
    `local issuer  ${stage.kubeUrl}   plays the API server: TokenRequest and its public keys`,
    `exchange      ${program.description}, as a process of its own`,
  );
}

async function showGoodPod(demo: Demo): Promise<void> {
  const { screen, stage, program } = demo;
  const text = readFileSync(EXAMPLE, 'utf8');
  screen.title('A developer writes one annotation (examples/pod.yaml)');
  screen.block(text);
  screen.title('An operator writes one role: who may get what. No role, no token');
  screen.block(DEMO_ROLES.split('---')[0] ?? '');
  const before = parse(text) as JsonObject;
  const { pod: after, operations, warnings } = await admit(stage, before);

  screen.title(`The webhook answers with ${operations} patch operations; the mutated pod`);
  screen.block(renderAdditions(before, after, screen));
  for (const warning of warnings) screen.say(`warning: ${warning}`);
  screen.say(
    'The app gets a read-only volume and four variables. Only the exchange container sees the ServiceAccount token.',
  );

  const pod = new LocalPod(stage, after as unknown as MutatedPod);
  const tokens = await pod.projectTokens();
  screen.title('The kubelet’s part: ServiceAccount tokens for the pod’s volume, by TokenRequest');
  screen.say(...tokens.map(describeProjected));

  const [run] = await pod.runExchange(program);
  screen.title('The exchange container runs, with the variables of the mutated pod');
  screen.block(run?.output ?? '');
  if (run?.exitCode !== 0) throw new Error('the exchange program did not write the token');
  screen.say(
    `Its startup probe (--check) was content after ${Math.round(run.milliseconds)} ms; the app would start now.`,
  );

  await showToken(demo, pod);
  screen.title('What the broker decided, and why');
  screen.say('Its audit record:');
  screen.block(readAudit(stage, 'allow'));
  screen.say('The same decision for people, by `coatcheck explain --token-file …`:');
  screen.block(await explain(stage, tokens));
}

async function showToken({ screen, stage }: Demo, pod: LocalPod): Promise<void> {
  const folder = path.posix.join(DEFAULT_MOUNT_ROOT, AUDIENCE);
  const token = readFileSync(pod.toLocal(path.posix.join(folder, TOKEN_FILE)), 'utf8');
  const { access_token: _, ...rest } = JSON.parse(
    readFileSync(pod.toLocal(path.posix.join(folder, TOKEN_JSON_FILE)), 'utf8'),
  ) as Record<string, unknown>;
  screen.title('The token in the file');
  screen.say(`AUTH_TOKEN_FILE=${folder}/${TOKEN_FILE}`);
  screen.block(abbreviate(token));
  screen.say(`${folder}/${TOKEN_JSON_FILE}, without the token itself:`);
  screen.block(JSON.stringify(rest, null, 2));

  const { header, claims } = decodeToken(token);
  screen.title('Its claims');
  screen.block(`${JSON.stringify(header)}\n${renderClaims(claims)}`);
  const jwks = await callJson({ url: `${stage.brokerUrl}/oauth2/jwks`, ca: stage.ca });
  await jwtVerify(token, createLocalJWKSet(jwks as JSONWebKeySet), {
    issuer: DEMO_ISSUER,
    audience: AUDIENCE,
    typ: 'at+jwt',
  });
  screen.say(
    'Verified as the payments service would: signature by the broker’s public keys, iss, aud, exp. No call per request.',
  );
}

/** A pod whose ServiceAccount no role names: the same annotation, and nothing comes of it. */
async function showNearMiss({ screen, stage, program }: Demo): Promise<void> {
  const before = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'reports',
      namespace: 'shop',
      annotations: {
        'auth.example.io/audience': AUDIENCE,
        'auth.example.io/mode': 'init',
        'auth.example.io/deadline': '2',
      },
    },
    spec: {
      serviceAccountName: 'reports',
      containers: [{ name: 'app', image: 'registry.example/reports:2.0.0' }],
    },
  };
  screen.title('A near miss: the same annotation on a pod whose ServiceAccount has no role');
  screen.say(
    'ServiceAccount shop/reports, audience payments; a deadline of 2 s, so that you need not wait a minute.',
  );
  const { pod: after } = await admit(stage, before);
  const pod = new LocalPod(stage, after as unknown as MutatedPod);
  const tokens = await pod.projectTokens();
  const run = (await pod.runExchange(program)).at(-1);
  const message = pod.readTerminationMessage();
  if (run?.exitCode !== 1 || message === '')
    throw new Error('the near miss was not refused as it should be');
  screen.say('The developer sees, in `kubectl describe pod reports`:');
  screen.block(`${run.name}  terminated, exit code ${run.exitCode}\n${message}`);
  screen.say('The operator finds the audit record by the correlation id:');
  screen.block(readAudit(stage, 'deny'));
  screen.say('and asks for every rule that was tried:');
  screen.block(await explain(stage, tokens));
}

function showNext(screen: Screen): void {
  screen.title('Where to go next');
  screen.say(
    'npx coatcheck inject -f examples/pod.yaml     what an annotation does to your own pods (docs/annotations.md)',
    'npx coatcheck dev                             a broker to try clients against (docs/dev.md)',
    'npx coatcheck explain --help                  why a token is granted or refused',
    'docs/roles.md                                 who may get what',
    'README.md                                     everything else',
  );
}

function describeProjected({ podPath, audience, expirationSeconds }: ProjectedToken): string {
  return `${podPath}   audience ${audience}, ${expirationSeconds} s, bound to the pod`;
}

/** The last record with that outcome, without the members that are the same in every record. */
function readAudit(stage: Stage, outcome: string): string {
  const records = readFileSync(stage.auditFile, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const record = records.findLast((one) => one.outcome === outcome);
  if (record === undefined)
    throw new Error(`the broker recorded no decision with outcome ${outcome}`);
  return JSON.stringify(record, null, 2);
}

async function explain(stage: Stage, tokens: readonly ProjectedToken[]): Promise<string> {
  let output = '';
  const write = (text: string): void => {
    output += text;
  };
  const args = [
    '--token-file',
    tokens[0]?.file ?? '',
    '--clusters-file',
    stage.clustersFile,
    '--roles',
    stage.rolesFolder,
    '--max-token-ttl-seconds',
    String(DEMO_MAX_TOKEN_TTL_SECONDS),
  ];
  const io = { stdout: write, stderr: write, stdin: () => Promise.resolve(''), environment: {} };
  const code = await explainCommand.run(args, io);
  // 1 is a refusal, which is what the near miss is about.
  if (code > 1) throw new Error(`coatcheck explain ended with code ${code}: ${output}`);
  return output;
}

const started = systemClock.now();
main().then(
  () =>
    process.stdout.write(
      `\n   Done in ${((systemClock.now() - started) / 1000).toFixed(1)} s; nothing was left behind.\n`,
    ),
  (error: Error) => {
    process.stderr.write(`\nThe demo failed: ${scrubTokens(error.message)}\n`);
    process.exitCode = 1;
  },
);
