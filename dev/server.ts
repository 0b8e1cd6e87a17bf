// The dev server: the real broker and the local issuer on one plain HTTP port, with keys that live as long as it does.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { AuditStream } from '../broker/audit.ts';
import { createBroker } from '../broker/broker.ts';
import { type Cluster, parseClusters } from '../broker/identity/clusters.ts';
import { fixedKeys, generateSigningKey, type SigningKey } from '../broker/tokens/keys.ts';
import type { Clock } from '../common/clock.ts';
import { listen } from '../common/http.ts';
import type { Logger } from '../common/log.ts';
import type { ListenAddress } from '../common/settings.ts';
import { withHostCheck } from './host.ts';
import { createLocalIssuer, ISSUER_PATH } from './issuer.ts';
import { DEMO_ROLES } from './roles.ts';

/** The name of the local issuer's cluster: it stands in the `sub` of every token made here. */
export const DEV_CLUSTER = 'dev';

const MAX_TOKEN_TTL_SECONDS = 86_400;
const DRAIN_MS = 5_000;

export interface DevOptions {
  readonly listen: ListenAddress;
  /** Folder of role files, or one; {@link DEMO_ROLES} without it. */
  readonly rolesPath?: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly auditStream: AuditStream;
  readonly newId: () => string;
}

export interface RunningDev {
  /** `http://…`: the broker's issuer; the local issuer's is below it. */
  readonly url: string;
  /** Ends requests in flight and the work in the background; what was written to disk is gone. */
  stop(): Promise<void>;
}

/**
 * Starts both; resolves when they answer.
 * @throws Error of the system where the address cannot be had.
 */
export async function startDev(options: DevOptions): Promise<RunningDev> {
  const { clock, log, auditStream, newId } = options;
  // The issuers are named after the port, which is known once it is open; until then nobody is told of it.
  let handler: RequestListener = (_request, response) => response.writeHead(503).end();
  const server = await listen(
    withHostCheck(options.listen, (request, response) => handler(request, response)),
    { address: options.listen },
  );
  const roles = options.rolesPath === undefined ? writeDemoRoles() : keepRoles(options.rolesPath);
  const issuer = createLocalIssuer({ baseUrl: server.url, clock });
  const broker = createBroker({
    issuer: server.url,
    clusters: toClusters(issuer.issuer),
    rolesPath: roles.path,
    keys: fixedKeys(markAsDev(generateSigningKey())),
    maxTokenTtlSeconds: MAX_TOKEN_TTL_SECONDS,
    clock,
    log,
    auditStream,
    newId,
  });
  handler = (request, response) =>
    request.url?.startsWith(`${ISSUER_PATH}/`)
      ? issuer.handler(request, response)
      : broker.handler(request, response);
  await broker.start();
  return {
    url: server.url,
    stop: async () => {
      await server.drain(DRAIN_MS);
      await broker.stop();
      roles.remove();
    },
  };
}

/** The clusters table of the dev broker: the local issuer alone, by its keys' address as for any cluster. */
function toClusters(issuer: string): readonly Cluster[] {
  const cluster = {
    name: DEV_CLUSTER,
    kind: 'kubernetes',
    issuer,
    validation: 'offline',
    keys: { url: `${issuer}/openid/v1/jwks` },
  };
  return parseClusters(JSON.stringify({ clusters: [cluster] }), { file: 'coatcheck dev' });
}

/** A key id that shows in every token and key set that the key is nobody's to trust. */
function markAsDev(key: SigningKey): SigningKey {
  const kid = `dev-${key.kid}`;
  return { ...key, kid, publicJwk: { ...key.publicJwk, kid } };
}

interface RolesFolder {
  readonly path: string;
  remove(): void;
}

function writeDemoRoles(): RolesFolder {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-dev-'));
  writeFileSync(path.join(folder, 'demo.yaml'), DEMO_ROLES);
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function keepRoles(given: string): RolesFolder {
  return { path: given, remove: () => undefined };
}
