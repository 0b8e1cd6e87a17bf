// Roles of several sources as one: precedence, what becomes of the others, reports, and what the API must refuse.
import { expect } from 'chai';
import { createRegistry, type RoleRegistry } from '../../../broker/roles/registry.ts';
import type { Role } from '../../../broker/roles/role.ts';
import type { InvalidRole, RoleSource, SourceKind } from '../../../broker/roles/source.ts';
import { createApiSource } from '../../../broker/roles/sources/api.ts';
import { createLogger } from '../../../common/log.ts';
import { toDocument, toRole } from '../../support/roles.ts';
import { keep } from '../../support/tokens.ts';

interface FakeSource extends RoleSource {
  set(roles: readonly Role[], invalid?: readonly InvalidRole[]): void;
}

function createSource(kind: SourceKind): FakeSource {
  let roles: readonly Role[] = [];
  let invalid: readonly InvalidRole[] = [];
  let isRead = false;
  const listeners: (() => void)[] = [];
  return {
    kind,
    current: () => roles,
    invalid: () => invalid,
    problems: () => invalid.map(({ source }) => `${source}: broken`),
    onChange: (listener) => void listeners.push(listener),
    findObstacles: () => (isRead ? [] : [`${kind} was not read yet`]),
    start: async () => {
      isRead = true;
    },
    stop: async () => undefined,
    set: (nextRoles, nextInvalid = []) => {
      [roles, invalid] = [nextRoles, nextInvalid];
      for (const listener of listeners) listener();
    },
  };
}

describe('the registry of roles', () => {
  let lines: string[];
  let sources: { file: FakeSource; crd: FakeSource; api: FakeSource };
  let registry: RoleRegistry;
  beforeEach(() => {
    lines = [];
    sources = { file: createSource('file'), crd: createSource('crd'), api: createSource('api') };
    registry = createRegistry({
      // In any order: precedence is of the kind.
      sources: [sources.api, sources.file, sources.crd],
      ownCluster: 'here',
      log: createLogger({
        level: 'debug',
        process: 'test',
        stream: { write: (line) => lines.push(line) },
      }),
    });
  });
  afterEach(() => keep('registry.log', lines.join('')));

  const from = (kind: SourceKind, name: string, more: Partial<Role> = {}) =>
    toRole(name, { source: `${kind}:${name}`, audience: name, ...more });
  const states = () =>
    registry.reports().map(({ name, source, state }) => `${name} ${source} ${state}`);

  it('lets a file go before a TokenRole, and that before the API', () => {
    sources.api.set([from('api', 'a'), from('api', 'b'), from('api', 'c')]);
    sources.crd.set([from('crd', 'a'), from('crd', 'b')]);
    sources.file.set([from('file', 'a')]);
    expect(registry.current().all.map(({ source }) => source)).to.deep.equal([
      'file:a',
      'crd:b',
      'api:c',
    ]);
    expect(states()).to.deep.equal([
      'a file Ready',
      'a crd Shadowed',
      'a api Shadowed',
      'b crd Ready',
      'b api Shadowed',
      'c api Ready',
    ]);
    expect(registry.problems()).to.deep.equal([
      'crd:a: is the name of file:a already; ignored',
      'api:a: is the name of file:a already; ignored',
      'api:b: is the name of crd:b already; ignored',
    ]);
    expect(registry.reports()[1]?.message).to.equal('file:a has this name and goes before it');
  });
  it('gives a name back when the role before it goes', () => {
    sources.api.set([from('api', 'a')]);
    sources.file.set([from('file', 'a')]);
    expect(registry.findByName('a')?.source).to.equal('file:a');
    sources.file.set([]);
    expect(registry.findByName('a')?.source).to.equal('api:a');
    expect(registry.problems()).to.deep.equal([]);
    sources.api.set([]);
    expect(registry.findByName('a')).to.equal(undefined);
  });
  it('does not let a role that is invalid take a name', () => {
    sources.file.set([], [{ name: 'a', source: 'file:a.yaml#1', problems: ['spec: is required'] }]);
    sources.api.set([from('api', 'a')]);
    expect(states()).to.deep.equal(['a api Ready', 'a file Invalid']);
    expect(registry.reports()[1]).to.deep.include({
      writtenAt: 'file:a.yaml#1',
      problems: ['spec: is required'],
      overlaps: [],
    });
    expect(registry.problems()).to.deep.equal(['file:a.yaml#1: broken']);
  });
  it('tells listeners once the new roles are there', () => {
    const seen: number[] = [];
    registry.onChange(() => seen.push(registry.current().all.length));
    sources.crd.set([from('crd', 'a')]);
    sources.crd.set([]);
    expect(seen).to.deep.equal([1, 0]);
  });
  it('waits for every source', async () => {
    expect(registry.findObstacles()).to.have.length(3);
    await registry.start();
    expect(registry.findObstacles()).to.deep.equal([]);
    await registry.stop();
  });
  it('reports which roles share subjects, over all sources', () => {
    const audience = 'payments';
    sources.file.set([from('file', 'a', { audience })]);
    sources.crd.set([
      from('crd', 'b', { audience }),
      from('crd', 'c', { audience, subjects: [{ namespace: '*', serviceAccount: '*' }] }),
      from('crd', 'd', { audience, subjects: [{ namespace: 'bank', serviceAccount: 'teller' }] }),
    ]);
    const reports = registry.reports();
    expect(reports.map(({ overlaps }) => overlaps.join(' '))).to.deep.equal([
      'b c',
      'a c',
      'a b d',
      'c',
    ]);
    expect(reports[0]?.message).to.equal(
      'subjects that b fits as well are refused, unless they name a role',
    );
    expect(reports[2]?.message).to.equal(
      'a, b, d names some of its subjects exactly and serves them',
    );
    expect(reports[3]?.message).to.equal(undefined);
    sources.crd.set([]);
    expect(registry.reports()[0]?.overlaps).to.deep.equal([]);
  });
  it('leaves out of the overlaps what a shadowed role says', () => {
    const audience = 'payments';
    sources.file.set([from('file', 'a', { audience })]);
    sources.api.set([from('api', 'a', { audience }), from('api', 'z')]);
    expect(registry.reports().map(({ overlaps }) => overlaps.length)).to.deep.equal([0, 0, 0]);
  });
  it('says once per change what deserves a second look, and what is ignored', () => {
    sources.file.set([from('file', 'a', { audience: 'x' }), from('file', 'b', { audience: 'x' })]);
    const said = () => lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    expect(said()).to.deep.equal(['roles deserve a second look']);
    sources.crd.set([from('crd', 'c')]);
    expect(said()).to.have.length(1);
    sources.api.set([from('api', 'a')]);
    expect(said()).to.include('roles are ignored: another source has a role of their name');
  });
  it('does not lint so many rules that nobody would be served meanwhile', () => {
    const many = (name: string) =>
      from('file', name, {
        audience: 'x',
        subjects: Array.from({ length: 250 }, (_, i) => ({
          namespace: `a${i}-*`,
          serviceAccount: 'b',
        })),
      });
    sources.file.set(['a', 'b', 'c', 'd'].map(many));
    expect(lines.at(-1)).to.contain('"msg":"roles deserve a second look"');
    sources.file.set(['a', 'b', 'c', 'd', 'e'].map(many));
    expect(lines.at(-1)).to.match(/"rules":1250.*too many rules to be linted/);
  });

  describe('asked what a new role would make ambiguous', () => {
    const audience = 'payments';
    const glob = { namespace: 'sh*', serviceAccount: '*' };
    const rows: readonly {
      title: string;
      there: readonly Role[];
      wanted: Role;
      expected: number;
    }[] = [
      { title: 'nothing there', there: [], wanted: toRole('n'), expected: 0 },
      { title: 'the same subject', there: [toRole('a')], wanted: toRole('n'), expected: 1 },
      {
        title: 'the same subject in two roles',
        there: [toRole('a'), toRole('b')],
        wanted: toRole('n'),
        expected: 2,
      },
      { title: 'the role it replaces', there: [toRole('n')], wanted: toRole('n'), expected: 0 },
      {
        title: 'the same subject for another audience',
        there: [toRole('a')],
        wanted: toRole('n', { audience: 'ledger' }),
        expected: 0,
      },
      {
        title: 'a glob over it',
        there: [toRole('a', { subjects: [glob] })],
        wanted: toRole('n'),
        expected: 0,
      },
      {
        title: 'a subject in its glob',
        there: [toRole('a')],
        wanted: toRole('n', { subjects: [glob] }),
        expected: 0,
      },
      {
        title: 'a glob that meets its glob',
        there: [toRole('a', { subjects: [glob] })],
        wanted: toRole('n', { subjects: [{ namespace: '*p', serviceAccount: 'x' }] }),
        expected: 1,
      },
      {
        title: 'labels that may select the same',
        there: [
          toRole('a', {
            subjects: [{ namespaceSelector: { matchLabels: { a: 'b' } }, serviceAccount: '*' }],
          }),
        ],
        wanted: toRole('n', { subjects: [glob] }),
        expected: 0,
      },
    ];
    for (const { title, there, wanted, expected } of rows) {
      it(`names ${expected} with ${title}`, () => {
        sources.api.set(there);
        expect(registry.findAmbiguities(wanted)).to.have.length(expected);
      });
    }
    it('says which subjects of which role', () => {
      const other = { namespace: 'x', serviceAccount: 'y' };
      sources.api.set([toRole('a', { audience, subjects: [other, ...toRole('a').subjects] })]);
      expect(registry.findAmbiguities(toRole('n'))).to.deep.equal([
        'subject 1 fits subjects that subject 2 of the role a fits as well: both would be refused to them',
      ]);
    });
  });
});

describe('roles from the API', () => {
  const stored = {
    rows: [] as { name: string; document: unknown; version: number }[],
    listeners: [] as (() => void)[],
  };
  const log = createLogger({ level: 'error', process: 'test', stream: { write: () => true } });
  const row = (name: string, version = 1, spec = {}) => ({
    name,
    version,
    document: toDocument(spec, { metadata: { name } }),
  });
  let source: RoleSource;
  let changes: number;
  beforeEach(() => {
    stored.rows = [];
    stored.listeners = [];
    changes = 0;
    source = createApiSource({
      stored: {
        roles: () => stored.rows,
        onRolesChange: (listener) => void stored.listeners.push(listener),
      },
      limits: { reservedAudiences: ['vault'] },
      log,
    });
    source.onChange(() => {
      changes += 1;
    });
  });
  const set = (...rows: typeof stored.rows) => {
    stored.rows = rows;
    for (const listener of stored.listeners) listener();
  };

  it('are there once the source was started, and follow the store', async () => {
    set(row('b'), row('a'));
    expect([source.current(), source.findObstacles().length]).to.deep.equal([[], 1]);
    await source.start();
    expect(source.findObstacles()).to.deep.equal([]);
    expect(source.current().map(({ name, source: at }) => [name, at])).to.deep.equal([
      ['a', 'api:a'],
      ['b', 'api:b'],
    ]);
    set(row('a'));
    expect(source.current().map(({ name }) => name)).to.deep.equal(['a']);
    expect(changes).to.equal(2);
  });
  it('are read under the limits of this broker, whatever they were accepted under', async () => {
    set(row('a', 1, { audience: 'vault' }), row('b'));
    await source.start();
    expect(source.current().map(({ name }) => name)).to.deep.equal(['b']);
    expect(source.invalid()).to.deep.equal([
      {
        name: 'a',
        source: 'api:a',
        problems: ['spec.audience: is reserved: a token for it is a credential elsewhere'],
      },
    ]);
    expect(source.problems()).to.have.length(1);
    set(row('a', 2), row('b'));
    expect(source.problems()).to.deep.equal([]);
  });
  it('may be named as Vault’s clients write them', async () => {
    set(row('kubernetes/my_role'), row('a/b/c'));
    await source.start();
    expect(source.current().map(({ name }) => name)).to.deep.equal(['kubernetes/my_role']);
    expect(source.invalid().map(({ name }) => name)).to.deep.equal(['a/b/c']);
  });
  it('do not serve under a name that is not theirs', async () => {
    set({ ...row('a'), name: 'b' });
    await source.start();
    expect(source.current()).to.deep.equal([]);
    expect(source.problems()).to.deep.equal([
      'api:b: metadata.name: is not the name it is stored under',
    ]);
  });
  it('are not parsed again while they do not change', async () => {
    const kept = row('a');
    set(kept);
    await source.start();
    const [before] = source.current();
    set(kept, row('b'));
    expect(source.current()[0]).to.equal(before);
    set({ ...kept, version: 2 });
    expect(source.current()[0]).to.not.equal(before);
  });
});
