// What `coatcheck render` prints, as far as no API server is needed: objects, names, scopes, every code of the webhook, no
// function that an older API server lacks. That the expressions are right is shown in test/cluster/policy.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { issueAuthority } from '../../common/certificates.ts';
import { command } from '../../webhook/commands/render.ts';
import { DENIALS } from '../../webhook/errors.ts';
import { cel, literal } from '../../webhook/policy/cel.ts';
import { toPolicies } from '../../webhook/policy/policies.ts';
import { SETTINGS } from './golden.ts';

interface Policy {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec: {
    policyName?: string;
    failurePolicy?: string;
    reinvocationPolicy?: string;
    validationActions?: string[];
    matchResources?: { namespaceSelector: object };
    matchConditions?: { expression: string }[];
    variables?: { name: string; expression: string }[];
    validations?: { expression: string; message: string; messageExpression?: string }[];
    mutations?: { jsonPatch: { expression: string } }[];
  };
}

const OPTIONS = {
  apiVersion: 'v1beta1',
  name: 'x',
  excludeNamespaces: [],
  namespaceSelector: {},
  audiences: [],
} as const;
const NEEDED = ['--mode', 'policy', '--broker-url', 'https://b.example.io', '--image', 'r/x:1'];

async function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  let stdout = '';
  let stderr = '';
  const code = await command.run(args, {
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: async () => '',
    environment,
  });
  const objects = parseAllDocuments(stdout).map((one) => one.toJS() as Policy);
  return { code, stdout, stderr, objects };
}

function getPolicies(): readonly [Policy, Policy, Policy, Policy] {
  return toPolicies(SETTINGS, OPTIONS) as [Policy, Policy, Policy, Policy];
}

describe('the policies', () => {
  it('are two with a binding each, the refusing one first', () => {
    expect(
      getPolicies().map(({ apiVersion, kind, metadata }) => [apiVersion, kind, metadata.name]),
    ).to.deep.equal([
      ['admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicy', 'x-check'],
      ['admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicyBinding', 'x-check'],
      ['admissionregistration.k8s.io/v1beta1', 'MutatingAdmissionPolicy', 'x-inject'],
      ['admissionregistration.k8s.io/v1beta1', 'MutatingAdmissionPolicyBinding', 'x-inject'],
    ]);
  });

  it('fail closed, are asked again after others, and take no parameters', () => {
    const [check, checkBinding, inject] = getPolicies();
    expect([check.spec.failurePolicy, inject.spec.failurePolicy]).to.deep.equal(['Fail', 'Fail']);
    expect(checkBinding.spec.validationActions).to.deep.equal(['Deny']);
    expect(inject.spec.reinvocationPolicy).to.equal('IfNeeded');
    expect(JSON.stringify(getPolicies())).to.not.match(/paramKind|paramRef/);
  });

  it('refuse with every code of the webhook that a pod of an API server can deserve', () => {
    const told = new Set(
      getPolicies()[0].spec.validations?.map(({ message }) => /\[([a-z_]+)\]$/.exec(message)?.[1]),
    );
    // The API server refuses what has the wrong type, and the last two are about the webhook itself.
    const others = ['annotation_not_text', 'pod_malformed', 'review_malformed', 'internal'];
    expect([...told].sort()).to.deep.equal(
      [
        ...Object.keys(DENIALS).filter((one) => !others.includes(one)),
        'needs_webhook',
        'not_injected',
      ].sort(),
    );
  });

  it('say what is allowed, also where the details cannot be worked out', () => {
    for (const { message, messageExpression } of getPolicies()[0].spec.validations ?? []) {
      expect(message).to.match(/^coatcheck: .*allowed:.* \[[a-z_]+\]$/);
      if (messageExpression) expect(messageExpression).to.match(/allowed:/);
    }
  });

  it('use nothing that came to the API server after 1.31', () => {
    const text = JSON.stringify(getPolicies());
    const later =
      /\.(flatten|sort|sortBy|slice|reverse|distinct|range|transformList|transformMap|transformMapEntry|first|last)\(|cel\.bind|semver\(|lists\.range/;
    expect(text).to.not.match(later);
  });

  it('use no variable before it is there', () => {
    for (const policy of getPolicies()) {
      const known = new Set<string>();
      for (const { name, expression } of policy.spec.variables ?? []) {
        for (const [, used = ''] of expression.matchAll(/variables\.(\w+)/g))
          expect([...known], name).to.include(used);
        known.add(name);
      }
    }
  });

  it('write texts with quotes, line ends and backslashes as CEL reads them', () => {
    expect(literal('a"b\n\\')).to.equal('"a\\"b\\n\\\\"');
    expect(literal(['a', 'b'])).to.equal('["a", "b"]');
    expect(literal({ a: 'x', b: 1, c: cel('y') })).to.equal(
      '{"a": dyn("x"), "b": dyn(1), "c": dyn(y)}',
    );
  });
});

describe('coatcheck render', () => {
  it('prints the policies as YAML, for kubectl', async () => {
    const { code, stderr, objects } = await run(NEEDED);
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    expect(objects.map(({ metadata }) => metadata.name)).to.deep.equal([
      'coatcheck-check',
      'coatcheck-check',
      'coatcheck-inject',
      'coatcheck-inject',
    ]);
  });

  it('prints the same as JSON', async () => {
    const { objects } = await run(NEEDED);
    const { stdout } = await run([...NEEDED, '-o', 'json']);
    expect(JSON.parse(stdout)).to.deep.equal({ apiVersion: 'v1', kind: 'List', items: objects });
  });

  it('prints the same twice', async () => {
    expect((await run(NEEDED)).stdout).to.equal((await run(NEEDED)).stdout);
  });

  it('takes the settings of the webhook from the environment', async () => {
    const { stdout } = await run(['--mode', 'policy'], {
      COATCHECK_BROKER_URL: 'https://b.example.io',
      COATCHECK_IMAGE: 'r/from-the-environment:1',
      COATCHECK_PREFIX: 'tokens.example.com/',
      COATCHECK_MOUNT_ROOT: '/tokens/here',
    });
    expect(stdout).to.contain('r/from-the-environment:1').and.contain('/tokens/here');
    expect(stdout).to.contain('tokens.example.com/').and.not.contain('auth.example.io/');
  });

  it('has the authorities of the broker in it, from a file', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'render-'));
    try {
      const file = path.join(folder, 'ca.crt');
      const notBefore = new Date(Date.UTC(2026, 0));
      const { certificate } = issueAuthority({
        commonName: 'ca',
        notBefore,
        notAfter: new Date(Date.UTC(2036, 0)),
      });
      writeFileSync(file, certificate);
      const { code, stdout, stderr } = await run([...NEEDED, '--broker-ca-file', file]);
      expect(code, stderr).to.equal(0);
      expect(stdout).to.contain('COATCHECK_BROKER_CA').and.contain('AUTH_CA_FILE');
      expect(stdout).to.contain(certificate.split('\n')[1]);
      expect((await run(NEEDED)).stdout).to.not.contain('AUTH_CA_FILE');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  for (const version of ['v1alpha1', 'v1beta1', 'v1']) {
    it(`writes version ${version} where asked to, of the mutating policy alone`, async () => {
      const { objects } = await run([...NEEDED, '--api-version', version]);
      expect(objects.map(({ apiVersion }) => apiVersion.split('/')[1])).to.deep.equal([
        'v1',
        'v1',
        version,
        version,
      ]);
    });
  }

  it('leaves namespaces out in both bindings', async () => {
    const { objects } = await run([...NEEDED, '--exclude-namespaces', 'kube-system,coatcheck']);
    const selectors = objects.flatMap(({ spec }) => spec.matchResources?.namespaceSelector ?? []);
    const out = {
      key: 'kubernetes.io/metadata.name',
      operator: 'NotIn',
      values: ['kube-system', 'coatcheck'],
    };
    expect(selectors).to.deep.equal([{ matchExpressions: [out] }, { matchExpressions: [out] }]);
  });

  it('holds for namespaces with labels, and leaves some of them out', async () => {
    const selector = {
      matchLabels: { tier: 'web' },
      matchExpressions: [{ key: 'x', operator: 'Exists' }],
    };
    const given = ['--namespace-selector', JSON.stringify(selector), '--exclude-namespaces', 'a'];
    const { objects } = await run([...NEEDED, ...given]);
    expect(objects[1]?.spec.matchResources?.namespaceSelector).to.deep.equal({
      matchLabels: { tier: 'web' },
      matchExpressions: [
        { key: 'x', operator: 'Exists' },
        { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['a'] },
      ],
    });
    expect(objects[3]?.spec.matchResources).to.deep.equal(objects[1]?.spec.matchResources);
  });

  it('works out the names of audiences that are no DNS labels', async () => {
    const audience = 'https://api.example.io/v1';
    expect((await run([...NEEDED, '--known-audiences', audience])).stdout).to.match(
      /https-api-example-io-v1-[0-9a-f]{8}/,
    );
    expect((await run(NEEDED)).stdout).to.not.contain(audience);
  });

  const refused: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['another mode', ['--mode', 'webhook', ...NEEDED.slice(2)], /--mode must be one of policy/],
    ['no mode', NEEDED.slice(2), /--mode is required/],
    ['no broker', ['--mode', 'policy', '--image', 'x'], /--broker-url\) is required/],
    ['no image', NEEDED.slice(0, 4), /--image\) is required/],
    ['a version that is none', [...NEEDED, '--api-version', 'v2'], /--api-version must be one of/],
    ['a name that is none', [...NEEDED, '--name', 'X_'], /--name must be a DNS label/],
    [
      'a namespace that is none',
      [...NEEDED, '--exclude-namespaces', 'A'],
      /--exclude-namespaces every item/,
    ],
    [
      'an audience that is none',
      [...NEEDED, '--known-audiences', 'a b'],
      /--known-audiences every item/,
    ],
    [
      'a CA file that is not there',
      [...NEEDED, '--broker-ca-file', '/nowhere'],
      /BROKER_CA_FILE|broker-ca-file/,
    ],
    ['an argument', [...NEEDED, 'pod.yaml'], /takes no arguments but flags/],
    [
      'settings that contradict each other',
      [...NEEDED, '--exchange-cpu-request', '2'],
      /EXCHANGE_CPU_REQUEST/,
    ],
  ];
  for (const [what, args, says] of refused) {
    it(`refuses ${what} and prints nothing`, async () => {
      const { code, stdout, stderr } = await run(args);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(stderr).to.match(says);
    });
  }
});
