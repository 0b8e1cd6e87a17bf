// The strict reader of YAML: what is not plain data is a problem, whatever it would do to a lenient one.
import { expect } from 'chai';
import { readDocuments } from '../../common/documents.ts';

describe('reading documents', () => {
  const read: readonly { name: string; text: string; values: readonly unknown[] }[] = [
    { name: 'several documents', text: 'a: 1\n---\nb: [2]\n', values: [{ a: 1 }, { b: [2] }] },
    { name: 'JSON', text: '{"a": {"b": null}}', values: [{ a: { b: null } }] },
    { name: 'a byte order mark', text: '\ufeffa: 1\n', values: [{ a: 1 }] },
    { name: 'nothing', text: '', values: [] },
    { name: 'a comment alone', text: '# later\n', values: [] },
    { name: 'an alias', text: 'a: &x [1]\nb: *x\n', values: [{ a: [1], b: [1] }] },
    // YAML 1.2 has no merge: it is a key like any other, which no schema of ours knows.
    { name: '<< as a name', text: '<<: { a: 1 }\n', values: [{ '<<': { a: 1 } }] },
    { name: 'yes as a text', text: 'a: yes\n', values: [{ a: 'yes' }] },
  ];
  for (const { name, text, values } of read) {
    it(`takes ${name}`, () => {
      const documents = readDocuments(text);
      expect(documents.flatMap(({ problems }) => problems)).to.deep.equal([]);
      expect(documents.map(({ value }) => value)).to.deep.equal(values);
    });
  }

  const level = (name: string, of: string) =>
    `${name}: &${name} [${Array.from({ length: 9 }, () => of).join(', ')}]\n`;
  const refused: readonly { name: string; text: string; problem: RegExp }[] = [
    { name: 'a name twice', text: 'a: 1\na: 2\n', problem: /duplicate key/ },
    { name: 'a tag for a function', text: 'a: !!js/function "x"\n', problem: /tag resolve failed/ },
    { name: 'a name that is no text', text: '? [1]\n: 2\n', problem: /non string key/ },
    { name: 'an alias without anchor', text: 'a: *x\n', problem: /alias/ },
    { name: 'an anchor that holds itself', text: 'a: &x { b: *x }\n', problem: /own anchor/ },
    { name: 'a list that holds itself', text: '&x [1, [*x]]\n', problem: /own anchor/ },
    {
      name: 'a billion laughs',
      text: `${level('a', 'x')}${level('b', '*a')}${level('c', '*b')}${level('d', '*c')}`,
      problem: /too many aliases/,
    },
    {
      name: 'nesting without end',
      text: `${'['.repeat(1500)}${']'.repeat(1500)}`,
      problem: /resource exhaustion/,
    },
  ];
  for (const { name, text, problem } of refused) {
    it(`refuses ${name}`, () => {
      expect(readDocuments(text).flatMap(({ problems }) => problems)[0]).to.match(problem);
    });
  }
});
