// `/api/v1/keys`: the signing keys by name. No private half is ever shown, and none is taken in.
import { BrokerError } from '../../errors.ts';
import { StoreError } from '../../store/store.ts';
import type { KeyAdmin, KeyReport } from '../../tokens/key-admin.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { defineRoute } from './route.ts';
import { keyList, keysRewrapped, keyView } from './schemas.ts';
import { toDefined, toTime } from './views.ts';

const PATH = '/api/v1/keys';

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listKeys',
  summary: 'The signing keys, in the order in which they sign',
  needs: { resource: 'keys', verb: 'list' },
  audited: false,
  needsStore: false,
  answers: { 200: { description: 'All of them', schema: keyList } },
  run: async (_call, deps) => {
    const { source, list: read } = getKeys(deps);
    return { body: { source, items: (await read()).map(toKeyView) } };
  },
});

const rotate = defineRoute({
  method: 'POST',
  path: `${PATH}/rotate`,
  operation: 'rotateKeys',
  summary: 'Announces a new signing key; it signs ten minutes later',
  needs: { resource: 'keys', verb: 'create' },
  audited: true,
  needsStore: false,
  answers: { 201: { description: 'The new key', schema: keyView } },
  refusals: ['conflict'],
  run: async (_call, deps) => {
    const report = await getKeys(deps).rotate().catch(refuse);
    return { status: 201, body: toKeyView(report), facts: { kid: report.kid } };
  },
});

const rewrap = defineRoute({
  method: 'POST',
  path: `${PATH}/rewrap`,
  operation: 'rewrapKeys',
  summary: 'Seals every signing key anew with the newest sealing key',
  needs: { resource: 'keys', verb: 'update' },
  audited: true,
  needsStore: false,
  answers: { 200: { description: 'What was done', schema: keysRewrapped } },
  refusals: ['conflict'],
  run: async (_call, deps) => {
    const { rewrapped, unreadable, sealedBy } = await getKeys(deps).rewrap().catch(refuse);
    const body = { rewrapped, unreadable, sealedBy };
    return { body, facts: body };
  },
});

export const keyRoutes = [list, rotate, rewrap];

function getKeys({ keys }: AdminDeps): KeyAdmin {
  if (!keys) throw new BrokerError('not_found', 'nothing can be seen of the signing keys');
  return keys;
}

/** Its message says why, and may be told (key-admin.ts). */
function refuse(error: unknown): never {
  if (error instanceof StoreError && error.kind === 'conflict')
    throw new RequestRefused('conflict', [{ path: '', problem: error.message }]);
  throw error;
}

function toKeyView({ createdAt, signsFrom, retiresAt, ...report }: KeyReport): object {
  const toText = (seconds: number | undefined) =>
    seconds === undefined ? undefined : toTime(seconds);
  return toDefined({
    ...report,
    createdAt: toText(createdAt),
    signsFrom: toText(signsFrom),
    retiresAt: toText(retiresAt),
  });
}
