// The answer's JSON is put together by hand around the patch: it must be what JSON.stringify would write.
import { expect } from 'chai';
import fc from 'fast-check';
import { toText } from '../../webhook/server.ts';

const toReview = (uid: string, warnings: string[], patch: string) => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview' as const,
  response: { uid, allowed: true, warnings, patchType: 'JSONPatch' as const, patch },
});

describe('the text of an answer', () => {
  for (const hostile of [
    '"patch":""',
    '\\"patch\\":\\"\\"',
    ',"patch":"",',
    '$&$1$$',
    '\u2028"\u0000',
  ]) {
    it(`is the review's JSON also where its uid and warnings are ${JSON.stringify(hostile)}`, () => {
      const review = toReview(hostile, [hostile, hostile], 'W10=');
      expect(JSON.parse(toText(review))).to.deep.equal(review);
      expect(toText(review)).to.equal(JSON.stringify(review));
    });
  }

  it('is the review’s JSON for any uid, warnings and patch', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.array(fc.string()),
        fc.base64String(),
        (uid, warnings, patch) => {
          const review = toReview(uid, warnings, patch);
          expect(toText(review)).to.equal(JSON.stringify(review));
        },
      ),
    );
  });

  it('is the review’s JSON where there is no patch', () => {
    const review = { ...toReview('u', [], ''), response: { uid: 'u', allowed: true } };
    expect(toText(review)).to.equal(JSON.stringify(review));
  });
});
