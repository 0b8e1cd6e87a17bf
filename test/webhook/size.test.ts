// Pods that are as large as the API server lets them be: the webhook has one thread, so what takes a second holds up every
// pod of the cluster. Sized so that a quadratic step takes longer than a test may; a linear one takes milliseconds.
import { expect } from 'chai';
import { type Injection, inject } from '../../webhook/inject.ts';
import { SETTINGS } from './golden.ts';

const PREFIX = 'auth.example.io/';
const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

interface Row {
  readonly name: string;
  readonly annotations: Record<string, string>;
  readonly spec?: object;
  readonly expected: string | undefined;
}

function codesOf(injection: Injection): string | undefined {
  return injection.ok ? undefined : [...new Set(injection.denials.map(({ code }) => code))].join();
}

describe('a pod as large as they come', () => {
  const rows: readonly Row[] = [
    {
      name: 'with 2 MB of blanks inside an audience',
      annotations: { [`${PREFIX}audience`]: `a${' '.repeat(2_000_000)}b` },
      expected: 'audience_malformed',
    },
    {
      name: 'with 2 MB of blanks inside a container’s name',
      annotations: {
        [`${PREFIX}audience`]: 'a',
        [`${PREFIX}containers`]: `a${' '.repeat(2_000_000)}b`,
      },
      expected: 'containers_malformed',
    },
    {
      name: 'with 10,000 unknown keys',
      annotations: Object.fromEntries(
        many(10_000, (i) => [`${PREFIX}${'misspelt-'.repeat(4)}${i}`, 'a']),
      ),
      expected: 'annotation_unknown,audience_missing',
    },
    {
      name: 'with 10,000 lists of containers for audiences it does not have',
      annotations: {
        [`${PREFIX}audience`]: 'a',
        ...Object.fromEntries(many(10_000, (i) => [`${PREFIX}containers.x${i}`, 'app'])),
      },
      expected: 'audience_name_unknown',
    },
    {
      name: 'with 60,000 volumes that begin like ours',
      annotations: { [`${PREFIX}audience`]: 'a' },
      spec: { volumes: many(60_000, (i) => ({ name: `coatcheck-${i}` })) },
      expected: undefined,
    },
    {
      name: 'with 5,000 containers and eight audiences',
      annotations: { [`${PREFIX}audience`]: 'a,b,c,d,e,f,g,h' },
      spec: { containers: many(5_000, (i) => ({ name: `c${i}` })) },
      expected: undefined,
    },
    {
      name: 'with a limit of 100,000 digits',
      annotations: { [`${PREFIX}audience`]: 'a' },
      spec: {
        containers: [
          { name: 'app', resources: { limits: { cpu: `${'1'.repeat(100_000)}x`, memory: '1' } } },
        ],
      },
      expected: undefined,
    },
  ];
  for (const { name, annotations, spec, expected } of rows) {
    it(`is decided at once ${name}`, () => {
      const pod = { metadata: { annotations }, spec: { containers: [{ name: 'app' }], ...spec } };
      expect(codesOf(inject(pod, SETTINGS))).to.equal(expected);
    });
  }
});
