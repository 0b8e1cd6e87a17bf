import { expect } from 'chai';
import {
  findAskingKey,
  isMissed,
  isPlainlyRefused,
  type PodObject,
  toInjectionFacts,
} from '../../common/protocol/missed.ts';

const PREFIX = 'auth.example.io/';
const ASKS = { 'auth.example.io/audience': 'payments' };
const BOTH = [{ name: 'coatcheck-identity' }, { name: 'coatcheck-tokens' }];

function toPod(annotations: unknown, more: { metadata?: object; spec?: object; status?: object }) {
  return {
    metadata: { name: 'app', annotations, ...more.metadata },
    spec: { volumes: [{ name: 'data' }], ...more.spec },
    status: { phase: 'Running', ...more.status },
  };
}

const MISSED: readonly [string, PodObject][] = [
  ['an annotated pod with volumes of its own alone', toPod(ASKS, {})],
  ['one without any volume', toPod(ASKS, { spec: { volumes: undefined } })],
  ['one with a named audience', toPod({ 'auth.example.io/audience.a': 'x' }, {})],
  ['one with a key that does not exist', toPod({ 'auth.example.io/audence': 'x' }, {})],
  ['one that waits for a node', toPod(ASKS, { status: { phase: 'Pending' } })],
  ['one without a status yet', { ...toPod(ASKS, {}), status: undefined }],
  ['one that says itself that it was injected', toPod({ ...ASKS, [`${PREFIX}status`]: '{}' }, {})],
  ['one with the identity volume alone', toPod(ASKS, { spec: { volumes: BOTH.slice(0, 1) } })],
  ['one with the tokens volume alone', toPod(ASKS, { spec: { volumes: BOTH.slice(1) } })],
  ['one for Linux nodes', toPod(ASKS, { spec: { os: { name: 'linux' } } })],
  ['one whose volumes are no list', toPod(ASKS, { spec: { volumes: 'x' } })],
];

const NOT_MISSED: readonly [string, PodObject][] = [
  ['one with both volumes', toPod(ASKS, { spec: { volumes: [{ name: 'a' }, ...BOTH] } })],
  ['one without annotations', toPod(undefined, {})],
  ['one with annotations of others alone', toPod({ 'auth.example.com/audience': 'x' }, {})],
  ['one with our status alone', toPod({ 'auth.example.io/status': 'x' }, {})],
  ['one that succeeded', toPod(ASKS, { status: { phase: 'Succeeded' } })],
  ['one that failed', toPod(ASKS, { status: { phase: 'Failed' } })],
  [
    'one that is told to end',
    toPod(ASKS, { metadata: { deletionTimestamp: '2026-11-23T00:00:00Z' } }),
  ],
  ['a static pod', toPod({ ...ASKS, 'kubernetes.io/config.mirror': 'x' }, {})],
  ['one for Windows by its os', toPod(ASKS, { spec: { os: { name: 'windows' } } })],
  [
    'one for Windows by its nodes',
    toPod(ASKS, { spec: { nodeSelector: { 'kubernetes.io/os': 'windows' } } }),
  ],
  [
    'one for Windows by the old label',
    toPod(ASKS, { spec: { nodeSelector: { 'beta.kubernetes.io/os': 'Windows' } } }),
  ],
];

describe('a pod that missed injection', () => {
  for (const [name, pod] of MISSED) {
    it(`is ${name}`, () => {
      expect(isMissed(toInjectionFacts(pod, PREFIX))).to.equal(true);
    });
  }
  for (const [name, pod] of NOT_MISSED) {
    it(`is not ${name}`, () => {
      expect(isMissed(toInjectionFacts(pod, PREFIX))).to.equal(false);
    });
  }

  for (const [keys, best] of [
    [['role', 'audience', 'mode'], 'audience'],
    [['mode', 'audience.b', 'audience.a'], 'audience.a'],
    [['status', 'audence', 'mode'], 'audence'],
    [['status'], undefined],
  ] as const) {
    it(`of ${keys.join(', ')} shows ${best ?? 'nothing'}`, () => {
      const annotations = Object.fromEntries(keys.map((key) => [key, 'x']));
      expect(findAskingKey({ annotations })).to.equal(best);
    });
  }

  for (const [annotations, is] of [
    [{ audience: 'payments' }, false],
    [{ audience: 'payments, orders', mode: 'init', 'init-order': 'last' }, false],
    [{ 'audience.a': 'https://a.example/x', 'role.a': 'r', status: '{}' }, false],
    [{ audence: 'payments' }, true],
    [{ audience: 'payments', audence: 'x' }, true],
    [{ audience: 'payments', 'mode.a': 'init' }, true],
    [{ mode: 'init' }, true],
    [{ audience: '' }, true],
    [{ audience: 'payments,,orders' }, true],
    [{ audience: 'pay ments' }, true],
    [{ status: 'x' }, true],
  ] as const) {
    it(`with ${JSON.stringify(annotations)} would ${is ? '' : 'not plainly '}be refused`, () => {
      expect(isPlainlyRefused({ annotations })).to.equal(is);
    });
  }
});
