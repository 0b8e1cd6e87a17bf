// The stage of the demo: the real local issuer, broker and webhook, each on a port of its own on loopback, in a folder
// that is gone afterwards.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { destination } from 'pino';
import { readClusters } from '../../broker/configuration.ts';
import { startBroker } from '../../broker/main.ts';
import { openKeyFolder } from '../../broker/tokens/key-folder.ts';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { systemClock } from '../../common/clock.ts';
import { listen } from '../../common/http.ts';
import { createLogger } from '../../common/log.ts';
import { startWebhook } from '../../webhook/main.ts';
import { readWebhookSettings } from '../../webhook/settings.ts';
import { withHostCheck } from '../host.ts';
import { createLocalIssuer, ISSUER_PATH, type LocalIssuer } from '../issuer.ts';
import { DEMO_ROLES } from '../roles.ts';

/** What a broker installed by the chart would call itself. */
export const DEMO_ISSUER = 'https://coatcheck-broker.coatcheck.svc';

/** Of the broker, and of `coatcheck explain`, which is to decide as it does. */
export const DEMO_MAX_TOKEN_TTL_SECONDS = 3600;

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const DAY_MS = 86_400_000;

export interface Stage {
  /** Everything below it is the demo's own; removed by {@link Stage.strike}. */
  readonly folder: string;
  /** PEM: signed the certificates of webhook and broker. */
  readonly ca: string;
  /** Base of the API server's paths at the local issuer. */
  readonly kubeUrl: string;
  readonly webhookUrl: string;
  readonly brokerUrl: string;
  readonly clustersFile: string;
  readonly rolesFolder: string;
  /** The broker's audit trail, one JSON record a line. */
  readonly auditFile: string;
  strike(): Promise<void>;
}

/** Builds it; whatever was started ends again where a part fails. */
export async function setStage(): Promise<Stage> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-demo-'));
  const stops: (() => Promise<unknown>)[] = [];
  const strike = async (): Promise<void> => {
    for (const stop of stops.toReversed()) await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const files = writeFiles(folder);
    const kubeUrl = await startIssuer(stops);
    writeFileSync(files.clusters, toClustersTable(kubeUrl));
    const brokerUrl = await startDemoBroker(files, stops);
    const webhookUrl = await startDemoWebhook(files, { brokerUrl, stops });
    return {
      folder,
      ca: files.authority,
      kubeUrl,
      webhookUrl,
      brokerUrl,
      clustersFile: files.clusters,
      rolesFolder: files.roles,
      auditFile: files.audit,
      strike,
    };
  } catch (error) {
    await strike();
    throw error;
  }
}

interface Files {
  /** PEM. */
  readonly authority: string;
  readonly caFile: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
  readonly clusters: string;
  readonly roles: string;
  readonly signingKeys: string;
  readonly audit: string;
  readonly log: string;
}

function writeFiles(folder: string): Files {
  const now = systemClock.now();
  const life = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) };
  const authority = issueAuthority({ commonName: 'Coatcheck demo CA', ...life });
  const leaf = issueCertificate(
    { commonName: 'Coatcheck demo', names: ['localhost', '127.0.0.1'], ...life },
    authority,
  );
  const write = (name: string, content: string): string => {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  return {
    authority: authority.certificate,
    caFile: write('ca.crt', authority.certificate),
    tls: { cert: leaf.certificate, key: leaf.key },
    tlsCertFile: write('tls.crt', leaf.certificate),
    tlsKeyFile: write('tls.key', leaf.key),
    clusters: path.join(folder, 'clusters.yaml'),
    roles: path.dirname(write('roles/demo.yaml', DEMO_ROLES)),
    signingKeys: path.dirname(write('signing-keys/demo.pem', pem)),
    audit: path.join(folder, 'audit.jsonl'),
    log: path.join(folder, 'log.jsonl'),
  };
}

async function startIssuer(stops: (() => Promise<unknown>)[]): Promise<string> {
  let issuer: LocalIssuer | undefined;
  const server = await listen(
    withHostCheck(LOOPBACK, (request, response) => issuer?.handler(request, response)),
    { address: LOOPBACK },
  );
  stops.push(() => server.drain(0));
  // Its name holds the port, which is known only now.
  issuer = createLocalIssuer({ baseUrl: server.url });
  return `${server.url}${ISSUER_PATH}`;
}

function toClustersTable(kubeUrl: string): string {
  return `clusters:
  - name: demo
    kind: kubernetes
    issuer: ${kubeUrl}
    validation: offline
    keys: { url: ${kubeUrl}/openid/v1/jwks }
`;
}

async function startDemoBroker(files: Files, stops: (() => Promise<unknown>)[]): Promise<string> {
  const keys = openKeyFolder(files.signingKeys, systemClock);
  if ('problems' in keys) throw new Error(keys.problems.join('; '));
  const broker = await startBroker({
    issuer: DEMO_ISSUER,
    clusters: readClusters(files.clusters),
    rolesPath: files.roles,
    keys,
    maxTokenTtlSeconds: DEMO_MAX_TOKEN_TTL_SECONDS,
    clock: systemClock,
    log: createFileLogger(files, 'broker'),
    auditStream: destination({ dest: openSync(files.audit, 'a'), sync: true }),
    newId: randomUUID,
    listen: LOOPBACK,
    operationsListen: LOOPBACK,
    tls: files.tls,
    drainSeconds: 1,
  });
  stops.push(() => broker.stop());
  return broker.url;
}

async function startDemoWebhook(
  files: Files,
  { brokerUrl, stops }: { brokerUrl: string; stops: (() => Promise<unknown>)[] },
): Promise<string> {
  const settings = readWebhookSettings({
    environment: {
      COATCHECK_LISTEN: '127.0.0.1:0',
      COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
      COATCHECK_TLS_CERT_FILE: files.tlsCertFile,
      COATCHECK_TLS_KEY_FILE: files.tlsKeyFile,
      COATCHECK_BROKER_URL: brokerUrl,
      COATCHECK_BROKER_CA_FILE: files.caFile,
      COATCHECK_ISSUER: DEMO_ISSUER,
      COATCHECK_IMAGE: 'registry.example/coatcheck-exchange:0.1.0',
    },
  });
  const webhook = await startWebhook({
    settings,
    log: createFileLogger(files, 'webhook'),
    clock: systemClock,
  });
  stops.push(() => webhook.stop());
  return webhook.url;
}

function createFileLogger(files: Files, name: string) {
  const stream = destination({ dest: openSync(files.log, 'a'), sync: true });
  return createLogger({ level: 'info', process: name, stream });
}
