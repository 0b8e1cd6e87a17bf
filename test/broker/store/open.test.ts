// The text of the setting: which store it asks for, and what is no store.
import { expect } from 'chai';
import { parseStoreChoice } from '../../../broker/store/open.ts';

describe('setting of the store', () => {
  it('may be none', () => {
    expect(parseStoreChoice('none')).to.deep.equal({ kind: 'none' });
  });

  for (const [text, file] of [
    ['sqlite:store.db', 'store.db'],
    ['sqlite:/var/lib/coatcheck/store.db', '/var/lib/coatcheck/store.db'],
    ['sqlite:///var/lib/coatcheck/store.db', '/var/lib/coatcheck/store.db'],
  ] as const) {
    it(`takes ${text} for the file ${file}`, () => {
      expect(parseStoreChoice(text)).to.deep.equal({ kind: 'sqlite', file });
    });
  }

  for (const scheme of ['postgres', 'postgresql']) {
    it(`takes a ${scheme} URL, and never prints it`, () => {
      const text = `${scheme}://user:s3cret@db.example:5432/coatcheck?sslmode=verify-full`;
      const choice = parseStoreChoice(text);
      expect(choice.kind).to.equal('postgres');
      if (choice.kind === 'postgres') expect(choice.url.reveal()).to.equal(text);
      expect(JSON.stringify(choice)).to.not.include('s3cret');
    });
  }

  for (const text of [
    '',
    'sqlite',
    'sqlite:',
    'sqlite::memory:',
    'sqlite:store.db?mode=memory',
    'postgres:',
    'postgres:///s3cret',
    'postgres://us er:s3cret@[/x',
    'mysql://user:s3cret@db/x',
    'none ',
  ]) {
    it(`refuses ${JSON.stringify(text)}, and does not quote it`, () => {
      expect(() => parseStoreChoice(text))
        .to.throw('must be none, sqlite:PATH or postgres://')
        .with.property('message')
        .that.does.not.include('s3cret');
    });
  }
});
