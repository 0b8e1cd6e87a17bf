// The allowed edges between folders, as a table. A new edge is a decision: change the table in the same commit and say why.
import { expect } from 'chai';
import { PROGRAMS, readSources, type Source } from './sources.ts';

// Longest matching prefix counts. `allowed` are prefixes of our own files; packages are checked apart.
const EDGES: readonly { from: string; allowed: readonly string[] }[] = [
  { from: 'common/', allowed: ['common/'] },
  { from: 'webhook/', allowed: ['webhook/', 'common/'] },
  {
    from: 'exchange/',
    allowed: [
      'exchange/',
      'common/protocol/',
      'common/settings.ts',
      'common/spelling.ts',
      'common/clock.ts',
      'common/command.ts',
    ],
  },
  { from: 'broker/', allowed: ['broker/', 'common/'] },
  { from: 'broker/identity/', allowed: ['broker/identity/', 'broker/errors.ts', 'common/'] },
  // Roles match identities: they import the type of what they match, and nothing of how it was proved.
  {
    from: 'broker/roles/',
    allowed: ['broker/roles/', 'broker/identity/identity.ts', 'broker/errors.ts', 'common/'],
  },
  {
    from: 'broker/tokens/',
    allowed: [
      'broker/tokens/',
      'broker/store/',
      'broker/identity/identity.ts',
      'broker/roles/role.ts',
      'broker/errors.ts',
      'common/',
    ],
  },
  { from: 'broker/store/', allowed: ['broker/store/', 'common/'] },
  { from: 'controller/', allowed: ['controller/', 'common/'] },
  { from: 'cli/', allowed: ['cli/', 'common/', 'package.json'] },
  {
    from: 'cli/commands.ts',
    allowed: ['cli/', 'common/', 'webhook/', 'exchange/', 'broker/', 'controller/', 'dev/'],
  },
  // `role lint` and `role test` run offline: they are the broker's own share of the CLI, imported when asked for.
  { from: 'cli/role-commands.ts', allowed: ['cli/', 'common/', 'broker/commands/role/'] },
  {
    from: 'dev/',
    allowed: ['dev/', 'common/', 'webhook/', 'exchange/', 'broker/', 'scripts/build.ts'],
  },
];

function findEdge(source: Source): (typeof EDGES)[number] | undefined {
  return EDGES.filter(({ from }) => source.path.startsWith(from)).sort(
    (a, b) => b.from.length - a.from.length,
  )[0];
}

const isOurs = (target: string) =>
  !target.startsWith('node:') && (target.endsWith('.ts') || target.endsWith('.json'));

describe('structure: who imports whom', () => {
  const sources = readSources();

  it('finds the sources at all', () => {
    expect(sources.length).to.be.greaterThan(10);
  });

  it('has no edge outside the table', () => {
    const wrong = sources.flatMap((source) => {
      const edge = findEdge(source);
      return source.imports
        .filter(({ target }) => isOurs(target))
        .filter(({ target }) => !edge?.allowed.some((prefix) => target.startsWith(prefix)))
        .map(({ target, line }) => `${source.path}:${line} imports ${target}`);
    });
    expect(wrong).to.deep.equal([]);
  });

  it('lets the exchange import nothing from packages', () => {
    const wrong = sources
      .filter(
        (source) =>
          source.path.startsWith('exchange/') ||
          source.path.startsWith('common/protocol/') ||
          /^common\/(settings|spelling|clock)\.ts$/.test(source.path),
      )
      .flatMap((source) =>
        source.imports
          .filter(({ target }) => !target.startsWith('node:') && !isOurs(target))
          .map(({ target, line }) => `${source.path}:${line} imports ${target}`),
      );
    expect(wrong).to.deep.equal([]);
  });

  it('imports programs in the CLI only when they are asked for', () => {
    const eager = sources
      .filter((source) => source.path.startsWith('cli/'))
      .flatMap((source) =>
        source.imports.filter(
          ({ target, lazy }) =>
            !lazy && PROGRAMS.some((p) => p !== 'cli' && target.startsWith(`${p}/`)),
        ),
      );
    expect(eager).to.deep.equal([]);
  });

  it('imports nothing of test/, scripts/ or bench/ in the product', () => {
    const wrong = sources
      .filter((source) => !source.path.startsWith('dev/'))
      .flatMap((source) =>
        source.imports
          .filter(({ target }) => /^(test|scripts|bench)\//.test(target))
          .map(({ target }) => `${source.path} imports ${target}`),
      );
    expect(wrong).to.deep.equal([]);
  });
});

describe('structure: what stands in a file', () => {
  const sources = readSources();

  const RULES: readonly { rule: string; pattern: RegExp; except: readonly string[] }[] = [
    {
      rule: 'reads the environment in common/settings.ts only',
      pattern: /process\.env\b/,
      except: ['common/settings.ts'],
    },
    {
      rule: 'takes the time from a Clock',
      pattern: /\bDate\.now\(\)|new Date\(\)/,
      except: ['common/clock.ts'],
    },
    { rule: 'takes chance from a Random', pattern: /Math\.random\(/, except: [] },
    { rule: 'has no default export', pattern: /^export default/m, except: [] },
    { rule: 'has no unfinished work', pattern: /\b(TODO|FIXME|XXX|HACK)\b/, except: [] },
  ];
  for (const { rule, pattern, except } of RULES) {
    it(rule, () => {
      const wrong = sources
        .filter((source) => !except.includes(source.path))
        .filter((source) => pattern.test(source.text.replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, '')))
        .map((source) => source.path);
      expect(wrong).to.deep.equal([]);
    });
  }

  it('begins every file with a comment that says what it owns', () => {
    const wrong = sources
      .filter((source) => !/^(#!.*\n)?(\/\/|\/\*\*)/.test(source.text))
      .map((source) => source.path);
    expect(wrong).to.deep.equal([]);
  });
});
