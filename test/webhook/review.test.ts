// AdmissionReview in, AdmissionReview out: every kind of request the API server, or a stranger, may send.
import { expect } from 'chai';
import { inject } from '../../webhook/inject.ts';
import { type Answer, review } from '../../webhook/review.ts';
import { SETTINGS } from './golden.ts';

const POD = {
  metadata: {
    name: 'app',
    namespace: 'elsewhere',
    annotations: { 'auth.example.io/audience': 'payments' },
  },
  spec: { containers: [{ name: 'app', image: 'registry.example.io/app:1' }] },
};
const UID = '705ab4f5-6393-11e8-b7cc-42010a800002';

function toReview(change: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: UID,
      kind: { group: '', version: 'v1', kind: 'Pod' },
      operation: 'CREATE',
      namespace: 'shop',
      object: POD,
      ...change,
    },
  };
}

const ask = (body: unknown): Answer => review(Buffer.from(JSON.stringify(body)), SETTINGS);
const responseOf = ({ body }: Answer) => {
  if (body.kind !== 'AdmissionReview') throw new Error('no AdmissionReview');
  expect(body.apiVersion).to.equal('admission.k8s.io/v1');
  expect(body.response?.uid).to.equal(UID);
  return body.response;
};

describe('reviews', () => {
  it('answers with a JSON Patch in base64 and the uid of the request', () => {
    const response = responseOf(ask(toReview()));
    expect(response?.allowed).to.equal(true);
    expect(response?.patchType).to.equal('JSONPatch');
    const operations = JSON.parse(Buffer.from(response?.patch ?? '', 'base64').toString());
    const direct = inject(POD, SETTINGS);
    expect(operations).to.deep.equal(direct.ok && JSON.parse(JSON.stringify(direct.operations)));
  });

  it('answers a dry run exactly like a real request', () => {
    expect(ask(toReview({ dryRun: true })).body).to.deep.equal(ask(toReview()).body);
  });

  it('takes the namespace from the request and from nowhere else', () => {
    expect(ask(toReview()).facts).to.include({ uid: UID, namespace: 'shop', pod: undefined });
    expect(ask(toReview({ namespace: undefined })).facts).to.include({
      uid: UID,
      namespace: undefined,
    });
  });

  it('names a pod that has no name yet by its generateName', () => {
    const object = { ...POD, metadata: { ...POD.metadata, generateName: 'app-' } };
    expect(ask(toReview({ object })).facts.pod).to.equal('app-(generated)');
  });

  const unmatched = [
    { name: 'an UPDATE', change: { operation: 'UPDATE' } },
    { name: 'a DELETE, whose object is null', change: { operation: 'DELETE', object: null } },
    {
      name: 'ephemeral containers',
      change: { operation: 'UPDATE', subResource: 'ephemeralcontainers' },
    },
    { name: 'a binding', change: { subResource: 'binding' } },
    {
      name: 'a Deployment',
      change: { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } },
    },
  ];
  for (const { name, change } of unmatched) {
    it(`admits ${name} unchanged and says that it should not have been asked`, () => {
      const answer = ask(toReview(change));
      const response = responseOf(answer);
      expect([response?.allowed, response?.patch, answer.outcome]).to.deep.equal([
        true,
        undefined,
        'not_matched',
      ]);
      expect(response?.warnings?.[0])
        .to.include('creation of pods only')
        .and.have.length.at.most(256);
    });
  }

  it('words no warning longer than what the API server passes on, its own name included', () => {
    const name = 'n'.repeat(100);
    const mountPath = `/run/secrets/auth.example.io/${'p'.repeat(71)}`;
    const spec = { containers: [{ name, volumeMounts: [{ name: 'own', mountPath }] }] };
    const response = responseOf(ask(toReview({ object: { ...POD, spec } })));
    expect(response?.warnings).to.have.lengthOf(1);
    expect(response?.warnings?.[0]).to.match(/^coatcheck: container n{100} mounts .*…$/);
    expect(response?.warnings?.[0]).to.have.lengthOf(256);
  });

  it('admits a pod that asks for nothing without a patch or a warning', () => {
    const answer = ask(
      toReview({ object: { metadata: {}, spec: { containers: [{ name: 'app' }] } } }),
    );
    expect(responseOf(answer)).to.deep.equal({ uid: UID, allowed: true });
    expect(answer.outcome).to.equal('unchanged');
  });

  it('denies what the author must mend with 422 and the reasons', () => {
    const object = { ...POD, metadata: { annotations: { 'auth.example.io/audence': 'payments' } } };
    const answer = ask(toReview({ object }));
    const response = responseOf(answer);
    expect(response?.allowed).to.equal(false);
    expect(response?.status?.code).to.equal(422);
    expect(response?.status?.reason).to.equal('Invalid');
    expect(response?.status?.message).to.match(
      /^coatcheck: auth\.example\.io\/audence: .*did you mean audience\?/,
    );
    expect(answer.outcome).to.equal('denied');
  });

  it('tells at most ten reasons', () => {
    const keys = Array.from({ length: 500 }, (_, i) => [`auth.example.io/x${i}`, 'y']);
    const response = responseOf(
      ask(toReview({ object: { ...POD, metadata: { annotations: Object.fromEntries(keys) } } })),
    );
    expect(response?.status?.message).to.match(/; and 49\d more$/);
  });

  it('denies a creation without an object with 400', () => {
    for (const object of [undefined, null, 'pod', []]) {
      const response = responseOf(ask(toReview({ object })));
      expect([response?.allowed, response?.status?.code]).to.deep.equal([false, 400]);
    }
  });

  it('turns a bug of ours into 500 with the uid, and keeps the error for the log', () => {
    const bug = new TypeError('cannot read /etc/secret');
    const answer = review(Buffer.from(JSON.stringify(toReview())), SETTINGS, () => {
      throw bug;
    });
    const response = responseOf(answer);
    expect([response?.allowed, response?.status?.code]).to.deep.equal([false, 500]);
    expect(JSON.stringify(response)).to.not.include('secret');
    expect([answer.outcome, answer.error]).to.deep.equal(['failed', bug]);
  });

  const unusable: { name: string; bytes: Buffer | string }[] = [
    { name: 'nothing', bytes: '' },
    { name: 'no JSON', bytes: '{"apiVersion":' },
    { name: 'no UTF-8', bytes: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) },
    { name: 'null', bytes: 'null' },
    { name: 'a list', bytes: '[]' },
    { name: 'another kind', bytes: '{"apiVersion":"v1","kind":"Pod"}' },
    {
      name: 'v1beta1',
      bytes: JSON.stringify({ ...toReview(), apiVersion: 'admission.k8s.io/v1beta1' }),
    },
    { name: 'no request', bytes: JSON.stringify({ ...toReview(), request: null }) },
    { name: 'no uid', bytes: JSON.stringify(toReview({ uid: undefined })) },
    { name: 'a uid that is no string', bytes: JSON.stringify(toReview({ uid: 7 })) },
    { name: 'an endless uid', bytes: JSON.stringify(toReview({ uid: 'x'.repeat(1000) })) },
    { name: 'brackets a hundred thousand deep', bytes: '['.repeat(100_000) },
  ];
  for (const { name, bytes } of unusable) {
    it(`answers ${name} with 400 and a Status, because there is no uid to answer to`, () => {
      const answer = review(Buffer.from(bytes), SETTINGS);
      expect([answer.status, answer.outcome]).to.deep.equal([400, 'bad_review']);
      expect(answer.body).to.include({
        kind: 'Status',
        status: 'Failure',
        code: 400,
        reason: 'BadRequest',
      });
    });
  }
});
