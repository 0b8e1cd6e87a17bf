// `/api/v1/clients`: registered OAuth clients. A secret is made here, shown once and kept as a hash; two hold while one is
// replaced.
import { z } from 'zod';
import type { Problem } from '../../../common/documents.ts';
import type { Secret } from '../../../common/secret.ts';
import { hashClientSecret, newClientSecret } from '../../client-secrets.ts';
import { BrokerError } from '../../errors.ts';
import { parseJwks } from '../../identity/keys.ts';
import { type StoredClient, StoreError } from '../../store/store.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { defineRoute } from './route.ts';
import {
  clientCreate,
  clientCreated,
  clientId,
  clientUpdate,
  clientView,
  listOf,
  paging,
  secretRotate,
} from './schemas.ts';
import { toClientView, toDefined } from './views.ts';

const PATH = '/api/v1/clients';
const byId = z.strictObject({ id: clientId });
const may = (verb: 'get' | 'list' | 'create' | 'update' | 'delete') =>
  ({ resource: 'clients', verb }) as const;

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listClients',
  summary: 'Registered clients',
  needs: may('list'),
  audited: false,
  needsStore: true,
  query: z.strictObject(paging),
  answers: { 200: { description: 'By id', schema: listOf(clientView) } },
  run: async ({ query: { limit, after = '' } }, deps) => {
    const all = [...(await getClients(deps).list())].sort((a, b) => (a.id < b.id ? -1 : 1));
    const rest = all.filter(({ id }) => id > after);
    const items = rest.slice(0, limit).map(toClientView);
    const last = items.at(-1);
    return { body: { items, ...(rest.length > limit && last && { next: last.id }) } };
  },
});

const get = defineRoute({
  method: 'GET',
  path: `${PATH}/{id}`,
  operation: 'getClient',
  summary: 'One registered client',
  needs: may('get'),
  audited: false,
  needsStore: true,
  params: byId,
  answers: { 200: { description: 'The client', schema: clientView } },
  refusals: ['not_found'],
  run: async ({ params }, deps) => ({ body: toClientView(await getClient(params.id, deps)) }),
});

const create = defineRoute({
  method: 'POST',
  path: PATH,
  operation: 'createClient',
  summary: 'Registers a client; its secret is shown in this answer alone',
  needs: may('create'),
  audited: true,
  needsStore: true,
  body: clientCreate,
  answers: { 201: { description: 'Registered', schema: clientCreated } },
  refusals: ['conflict'],
  run: async ({ body, caller }, deps) => {
    const { id, secret: wantsSecret, ...texts } = body;
    checkJwks(texts.jwks);
    checkAudiences(id, deps);
    const secret =
      (wantsSecret ?? texts.jwks === undefined) ? newClientSecret(deps.randomBytes) : undefined;
    const client = toStored(texts, {
      id,
      secretHashes: secret ? [await hashClientSecret(secret, deps.randomBytes)] : [],
      createdAt: Math.floor(deps.clock.now() / 1000),
      createdBy: caller.subject,
    });
    await getClients(deps)
      .put(client, { mustBeNew: true })
      .catch((error: unknown) => {
        throw toIdTaken(error);
      });
    return { status: 201, body: toCreated(client, secret), facts: { name: id } };
  },
});

const update = defineRoute({
  method: 'PUT',
  path: `${PATH}/{id}`,
  operation: 'updateClient',
  summary: "Replaces a client's name, description and public keys",
  needs: may('update'),
  audited: true,
  needsStore: true,
  params: byId,
  body: clientUpdate,
  answers: { 200: { description: 'The client', schema: clientView } },
  refusals: ['not_found'],
  run: async ({ params, body }, deps) => {
    checkJwks(body.jwks);
    const before = await getClient(params.id, deps);
    const client = toStored(body, before);
    await getClients(deps).put(client);
    return { body: toClientView(client) };
  },
});

const remove = defineRoute({
  method: 'DELETE',
  path: `${PATH}/{id}`,
  operation: 'deleteClient',
  summary: 'Takes a client away; its credentials are refused from now on',
  needs: may('delete'),
  audited: true,
  needsStore: true,
  params: byId,
  answers: { 200: { description: 'It is gone', schema: z.strictObject({ id: z.string() }) } },
  refusals: ['not_found'],
  run: async ({ params }, deps) => {
    if (!(await getClients(deps).remove(params.id))) throw new BrokerError('not_found');
    return { body: { id: params.id } };
  },
});

const rotate = defineRoute({
  method: 'POST',
  path: `${PATH}/{id}/secret`,
  operation: 'rotateClientSecret',
  summary:
    'Makes another secret, shown in this answer alone; the last one holds until it is dropped',
  needs: may('update'),
  audited: true,
  needsStore: true,
  params: byId,
  body: secretRotate,
  answers: { 200: { description: 'The client, with its new secret', schema: clientCreated } },
  refusals: ['not_found'],
  run: async ({ params, body }, deps) => {
    const before = await getClient(params.id, deps);
    const secret = newClientSecret(deps.randomBytes);
    const hash = await hashClientSecret(secret, deps.randomBytes);
    const kept = body.revokeOld ? [] : before.secretHashes.slice(-1);
    const client = { ...before, secretHashes: [...kept, hash] };
    await getClients(deps).put(client);
    return { body: toCreated(client, secret), facts: { secrets: client.secretHashes.length } };
  },
});

const dropOld = defineRoute({
  method: 'DELETE',
  path: `${PATH}/{id}/secret`,
  operation: 'dropOldClientSecret',
  summary: 'Ends the secret before the newest',
  needs: may('update'),
  audited: true,
  needsStore: true,
  params: byId,
  answers: { 200: { description: 'The client', schema: clientView } },
  refusals: ['not_found'],
  run: async ({ params }, deps) => {
    const before = await getClient(params.id, deps);
    const client = { ...before, secretHashes: before.secretHashes.slice(-1) };
    await getClients(deps).put(client);
    return { body: toClientView(client), facts: { secrets: client.secretHashes.length } };
  },
});

export const clientRoutes = [list, create, get, update, remove, rotate, dropOld];

interface Texts {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly jwks?: unknown;
}

function toStored(
  { name, description, jwks }: Texts,
  { id, secretHashes, createdAt, createdBy }: Omit<StoredClient, 'name' | 'description' | 'jwks'>,
): StoredClient {
  return toDefined({
    id,
    name,
    description,
    secretHashes,
    jwks,
    createdAt,
    createdBy,
  }) as StoredClient;
}

function toCreated(client: StoredClient, secret: Secret | undefined): object {
  return { ...toClientView(client), ...(secret && { secret: secret.reveal() }) };
}

/** Each key must be one that can verify an assertion; private ones are nobody's business here. */
function checkJwks(jwks: unknown): void {
  if (jwks === undefined) return;
  const { keys, ignored } = parseJwks(JSON.stringify(jwks));
  const problems: Problem[] = ignored.map((text) => {
    const [, path = '', problem = text] = /^(keys\[\d+\]): (.*)$/s.exec(text) ?? [];
    return { path: path === '' ? 'jwks' : `jwks.${path}`, problem };
  });
  if (keys.length === 0 && problems.length === 0)
    problems.push({ path: 'jwks.keys', problem: 'must hold a public key' });
  if (problems.length > 0) throw new RequestRefused('document_invalid', problems);
}

/** `client_id` and `aud` of our tokens must not be mistaken for one another. */
function checkAudiences(id: string, { roles }: AdminDeps): void {
  const taken = roles.reports().some(({ name }) => roles.findByName(name)?.audience === id);
  if (taken)
    throw new RequestRefused('conflict', [{ path: 'id', problem: 'is the audience of a role' }]);
}

function toIdTaken(error: unknown): unknown {
  return error instanceof StoreError && error.kind === 'conflict'
    ? new RequestRefused('conflict', [{ path: 'id', problem: 'is that of a registered client' }])
    : error;
}

function getClients({ store }: AdminDeps): NonNullable<AdminDeps['store']>['clients'] {
  if (!store) throw new BrokerError('store_missing');
  return store.clients;
}

async function getClient(id: string, deps: AdminDeps): Promise<StoredClient> {
  const client = await getClients(deps).find(id);
  if (client) return client;
  throw new BrokerError('not_found');
}
