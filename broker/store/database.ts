// A store over one of the two databases, put together.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { createClientStore } from './clients.ts';
import { createClusterStore } from './clusters.ts';
import { createCore } from './core.ts';
import { createDeathStore } from './deaths.ts';
import { createDecisionStore } from './decisions.ts';
import { createDenialStore } from './denials.ts';
import type { Dialect } from './dialect.ts';
import { createKeyStore } from './keys.ts';
import { migrate } from './migrations.ts';
import { observe } from './observed.ts';
import { createRoleStore } from './roles.ts';
import { type Store, StoreError, type StoreOperation } from './store.ts';
import { createSweep, type SweepOptions } from './sweep.ts';
import { createTokenStore } from './tokens.ts';

export interface DatabaseStore extends Store {
  /** A round of sweeping now; it happens by itself every minute. Resolves to how many rows went. */
  sweep(): Promise<number>;
}

export function createDatabaseStore(
  dialect: Dialect,
  options: SweepOptions & { readonly clock: Clock; readonly log: Logger },
): DatabaseStore {
  const { clock } = options;
  const core = createCore(dialect, clock);
  const sweep = createSweep(core, options);
  const stopping = new AbortController();
  const observers: ((operation: StoreOperation) => void)[] = [];
  const tell = (operation: StoreOperation) => {
    for (const observer of observers) observer(operation);
  };
  let sweeping: Promise<void> | undefined;
  return {
    kind: dialect.kind,
    tokens: observe('tokens', createTokenStore(core), tell),
    denials: observe('denials', createDenialStore(core), tell),
    deaths: observe('deaths', createDeathStore(core), tell),
    roles: observe('roles', createRoleStore(core), tell),
    clusters: observe('clusters', createClusterStore(core), tell),
    keys: observe('keys', createKeyStore(core), tell),
    clients: observe('clients', createClientStore(core), tell),
    decisions: observe('decisions', createDecisionStore(core), tell),
    start: async () => {
      await dialect.open();
      try {
        await migrate(dialect);
      } catch (error) {
        if (error instanceof StoreError || dialect.toTrouble(error) !== 'unavailable') throw error;
        throw new StoreError('unavailable', 'the schema could not be brought up', { cause: error });
      }
      await dialect.listen(core.tell);
      sweeping ??= sweep.loop(stopping.signal);
    },
    sweep: sweep.run,
    onChange: core.onChange,
    onOperation: (listener) => void observers.push(listener),
    findAwaySince: dialect.findAwaySince,
    close: async () => {
      stopping.abort();
      await sweeping;
      await dialect.close();
    },
  };
}
