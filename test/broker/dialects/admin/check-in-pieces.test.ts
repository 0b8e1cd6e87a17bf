// Long lists checked in pieces say what a check of the whole would say, and let others have their turn meanwhile.
import { expect } from 'chai';
import { checkInPieces } from '../../../../broker/dialects/admin/check-in-pieces.ts';
import { liveSet } from '../../../../broker/dialects/admin/schemas.ts';

const LISTS = { names: ['pods', 'serviceAccounts'], maxItems: 20_000 };
const list = (length: number, wrong: readonly number[] = []) =>
  Array.from({ length }, (_, i) => (wrong.includes(i) ? 'not a uid' : `uid-${i}`));
const toBody = (change: object = {}) => ({
  takenAt: '2026-11-22T10:15:00.000Z',
  pods: list(12_345),
  serviceAccounts: list(5001),
  ...change,
});
const check = (body: unknown) => checkInPieces(liveSet, body, LISTS);
const UID = 'must be a uid: 1 to 64 letters, digits and dashes';

describe('a check in pieces', () => {
  const rows: readonly { title: string; body: unknown; problems: readonly object[] }[] = [
    { title: 'takes a body with long lists', body: toBody(), problems: [] },
    {
      title: 'takes short lists',
      body: toBody({ pods: ['a'], serviceAccounts: ['b'] }),
      problems: [],
    },
    {
      title: 'takes as many as there may be',
      body: toBody({ pods: list(20_000) }),
      problems: [],
    },
    {
      title: 'refuses one more',
      body: toBody({ pods: list(20_001) }),
      problems: [{ path: 'pods', problem: 'must be at most 20000 items' }],
    },
    ...[0, 4999, 5000, 12_344].map((at) => ({
      title: `names the place of what is wrong: ${at}`,
      body: toBody({ pods: list(12_345, [at]) }),
      problems: [{ path: `pods[${at}]`, problem: UID }],
    })),
    {
      title: 'looks at the second list, too',
      body: toBody({ serviceAccounts: list(5001, [5000]) }),
      problems: [{ path: 'serviceAccounts[5000]', problem: UID }],
    },
    {
      title: 'refuses what is no text',
      body: toBody({ pods: [...list(6000), 7] }),
      problems: [{ path: 'pods[6000]', problem: 'must be a text' }],
    },
    {
      title: 'refuses an unknown field beside long lists',
      body: toBody({ more: 1 }),
      problems: [{ path: '', problem: 'unknown field more' }],
    },
    {
      title: 'refuses a missing list beside a long one',
      body: toBody({ serviceAccounts: undefined }),
      problems: [{ path: 'serviceAccounts', problem: 'is required' }],
    },
    {
      title: 'refuses an empty list beside a long one',
      body: toBody({ serviceAccounts: [] }),
      problems: [{ path: 'serviceAccounts', problem: 'must be at least 1 items' }],
    },
    { title: 'refuses null', body: null, problems: [{ path: '', problem: 'must be an object' }] },
  ];
  for (const { title, body, problems } of rows)
    it(title, async () => expect(await check(body)).to.deep.equal(problems));

  it('lets others have their turn', async () => {
    let turns = 0;
    let isDone = false;
    const count = () => {
      turns += 1;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    await check(toBody());
    isDone = true;
    expect(turns).to.be.at.least(3);
  });
});
