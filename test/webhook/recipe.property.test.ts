// What is remembered of like pods must not be seen: an injection that has met thousands of pods answers each byte for byte as
// one that has met none.
import { expect } from 'chai';
import fc from 'fast-check';
import { ADMISSION_API_VERSION, type JsonObject } from '../../common/protocol/admission.ts';
import { prepareInjection } from '../../webhook/inject.ts';
import type { InjectSettings } from '../../webhook/inject-settings.ts';
import { Memo, toKeyPart } from '../../webhook/memo.ts';
import { SharedOperation, toPatchText } from '../../webhook/patch.ts';
import { review } from '../../webhook/review.ts';
import { toText } from '../../webhook/server.ts';
import { loadGoldenCases, SETTINGS } from './golden.ts';
import { pod } from './random-pods.ts';

type Decide = ReturnType<typeof prepareInjection>;

/** The bytes of the answer for a pod. */
function answer(object: JsonObject, settings: InjectSettings, decide: Decide): string {
  const request = { uid: 'u', operation: 'CREATE', object };
  const body = { apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', request };
  return toText(review(Buffer.from(JSON.stringify(body)), settings, decide).body);
}

const answerAlone = (object: JsonObject, settings: InjectSettings): string =>
  answer(object, settings, prepareInjection(settings));

describe('what is remembered of like pods', () => {
  it('is not seen in any answer to golden pods, in any order, thrice over', () => {
    const golden = loadGoldenCases().map(({ pod: given }) => given);
    const alone = golden.map((given) => answerAlone(given, SETTINGS));
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...golden.keys()], { minLength: golden.length }),
        (order) => {
          const decide = prepareInjection(SETTINGS);
          for (const i of [...order, ...order, ...order])
            expect(answer(golden[i] as JsonObject, SETTINGS, decide)).to.equal(alone[i]);
        },
      ),
      { numRuns: 5 },
    );
  });

  it('is not seen in any answer to random pods, whatever came before them', () => {
    const decide = prepareInjection(SETTINGS);
    fc.assert(
      fc.property(pod, pod, (one, other) => {
        for (const given of [one, other, one])
          expect(answer(given, SETTINGS, decide)).to.equal(answerAlone(given, SETTINGS));
      }),
      { numRuns: 400 },
    );
  });

  it('gives a pod nothing of another one’s names, mounts or annotations', () => {
    const decide = prepareInjection(SETTINGS);
    const toPod = (mark: string): JsonObject => ({
      metadata: {
        name: `pod-${mark}`,
        annotations: { 'auth.example.io/audience': 'payments', [`own/${mark}`]: mark },
      },
      spec: {
        containers: [
          { name: `app-${mark}`, volumeMounts: [{ name: `v-${mark}`, mountPath: `/${mark}` }] },
        ],
        volumes: [{ name: `v-${mark}`, emptyDir: {} }],
      },
    });
    const patchOf = (given: JsonObject): string => {
      const { response } = JSON.parse(answer(given, SETTINGS, decide)) as {
        response: { patch: string };
      };
      return Buffer.from(response.patch, 'base64').toString();
    };
    for (const [mark, other] of [
      ['first', 'second'],
      ['second', 'first'],
      ['first', 'second'],
    ] as const) {
      const patch = patchOf(toPod(mark));
      expect(patch).to.include(`app-${mark}`).and.not.include(other);
    }
  });

  it('tells audiences, roles and containers apart that read alike when put in a row', () => {
    const decide = prepareInjection(SETTINGS);
    const rows: readonly Record<string, string>[] = [
      { audience: 'a', 'audience.b': 'c' },
      { audience: 'a', 'audience.bc': 'c' },
      { audience: 'a,c' },
      { audience: 'a', role: 'r' },
      { audience: 'a', 'role.a': 'r' },
      { audience: 'a', deadline: '30' },
      { audience: 'a', mode: 'init' },
      { audience: 'a', 'token-expiration': '3000' },
    ];
    for (const names of [['x', 'y'], ['x1', 'y'], ['x', '1y'], ['1:x', 'y'], ['x1:y']])
      for (const row of rows) {
        const annotations = Object.fromEntries(
          Object.entries(row).map(([key, value]) => [`auth.example.io/${key}`, value]),
        );
        const given = {
          metadata: { annotations },
          spec: { containers: names.map((name) => ({ name })) },
        };
        expect(answer(given, SETTINGS, decide)).to.equal(answerAlone(given, SETTINGS));
      }
  });
});

describe('the memo', () => {
  it('keeps the keys asked for last, and never more than twice its limit', () => {
    const memo = new Memo<number>(4);
    for (let i = 0; i < 100; i++) memo.keep(`k${i}`, i);
    const kept = Array.from({ length: 100 }, (_, i) => i).filter((i) => memo.find(`k${i}`) === i);
    expect(kept.length).to.be.within(4, 8);
    expect(kept).to.include.members([96, 97, 98, 99]);
  });

  it('keeps a key that is in use while others come and go', () => {
    const memo = new Memo<string>(4);
    memo.keep('used', 'value');
    for (let i = 0; i < 100; i++) {
      memo.keep(`other${i}`, '');
      expect(memo.find('used')).to.equal('value');
    }
  });

  it('keeps nothing under a key that is longer than any Deployment’s', () => {
    const memo = new Memo<number>(4);
    memo.keep('k'.repeat(1024), 1);
    memo.keep('k'.repeat(1025), 2);
    expect([memo.find('k'.repeat(1024)), memo.find('k'.repeat(1025))]).to.deep.equal([
      1,
      undefined,
    ]);
  });

  it('has no two lists of parts under one key', () => {
    const toKey = (parts: readonly string[]) => parts.map(toKeyPart).join('');
    const part = fc.string({ unit: fc.constantFrom('1', ':', 'a'), maxLength: 4 });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), fc.array(part, { maxLength: 4 }), (a, b) => {
        expect(toKey(a) === toKey(b)).to.equal(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });
});

describe('the text of a patch', () => {
  it('is base64 of the list of operations, shared or not, whatever their length and letters', () => {
    const operation = fc.record({
      op: fc.constantFrom('add' as const, 'replace' as const),
      path: fc.string({ unit: 'binary' }),
      value: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonObject[string]>,
      isShared: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (given) => {
        const operations = given.map(({ op, path, value, isShared }) =>
          isShared ? new SharedOperation(op, path, value) : { op, path, value },
        );
        const plain = JSON.stringify(given.map(({ op, path, value }) => ({ op, path, value })));
        for (let round = 0; round < 2; round++) {
          const bytes = Buffer.from(toPatchText(operations), 'base64');
          expect(bytes.toString('base64')).to.equal(toPatchText(operations));
          expect(JSON.stringify(JSON.parse(bytes.toString()))).to.equal(plain);
        }
      }),
    );
  });
});
