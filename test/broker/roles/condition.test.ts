// Conditions of roles: what they know of whom, what is a problem of the role and what a deny, and that no expression and
// no token can make one slow.
import { expect } from 'chai';
import type { Identity, VerifiedSubject } from '../../../broker/identity/identity.ts';
import { createConditionCompiler } from '../../../broker/roles/condition/compile.ts';
import { MAX_STEPS } from '../../../broker/roles/condition/meter.ts';
import { findPatternProblem, weighPattern } from '../../../broker/roles/condition/pattern.ts';
import type { ConditionRequest, ConditionResult } from '../../../broker/roles/role.ts';

const compile = createConditionCompiler();
const request: ConditionRequest = {
  audience: 'payments',
  scopes: ['read', 'write'],
  role: '',
  dialect: 'oauth',
};
const workload = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: 'su',
  pod: { name: 'checkout-7d4f-x', uid: 'pu' },
  node: { name: 'node-1', uid: 'nu' },
} as const;
const { pod: _pod, node: _node, ...unbound } = workload;
const job = {
  kind: 'oidc',
  issuer: 'github',
  subject: 'repo:acme/shop:ref:refs/heads/main',
} as const;
const ci = { kind: 'client', id: 'ci' } as const;
const alice = { kind: 'user', provider: 'idp', subject: 'alice', groups: ['ops', 'dev'] } as const;

const claims = {
  sub: 'system:serviceaccount:shop:checkout',
  'kubernetes.io': { namespace: 'shop' },
  groups: ['a', 'b'],
  level: 2,
  ratio: 1.5,
  beta: true,
  nothing: null,
  iat: 1_800_000_000,
  text: 'a'.repeat(4000),
  many: Array.from({ length: 1500 }, (_, i) => `item${i}`),
};

function toSubject(
  identity: Identity,
  given: Readonly<Record<string, unknown>> = claims,
): VerifiedSubject {
  return {
    identity,
    issuer: 'https://issuer.test',
    audiences: ['payments'],
    issuedAt: 0,
    expiresAt: 3600,
    fingerprint: '0123456789abcdef',
    claims: given,
  };
}

function evaluate(
  text: string,
  identity: Identity = workload,
  given?: Readonly<Record<string, unknown>>,
): ConditionResult {
  const compiled = compile(text);
  if (!compiled.ok) throw new TypeError(compiled.problems.join('\n'));
  return compiled.condition.evaluate(toSubject(identity, given), request);
}

function problemsOf(text: string): readonly string[] {
  const compiled = compile(text);
  return compiled.ok ? [] : compiled.problems;
}

describe('a condition', () => {
  // Each line that holds has a near miss below it that does not.
  const rows: readonly [text: string, expected: boolean | RegExp, identity?: Identity][] = [
    ["cluster == 'here'", true],
    ["cluster == 'Here'", false],
    ["namespace == 'shop'", true],
    ["namespace == 'shop2'", false],
    ["namespace.startsWith('sh') && !namespace.endsWith('-dev')", true],
    ["serviceAccount in ['checkout', 'cart']", true],
    ["serviceAccount in ['cart']", false],
    ["pod.name.startsWith('checkout-')", true],
    ["pod.name.startsWith('cart-')", false],
    ["pod.uid == 'pu' && node.name == 'node-1' && node.uid == 'nu'", true],
    ["pod.uid == 'pu' && node.name == 'node-2'", false],
    ["pod.name.matches('^checkout-[a-z0-9]+-[a-z0-9]$')", true],
    ["pod.name.matches('^checkout$')", false],
    ["claims.sub == 'system:serviceaccount:shop:checkout'", true],
    ["claims['kubernetes.io'].namespace == namespace", true],
    ["claims['kubernetes.io'].namespace == 'bank'", false],
    ["claims.groups.exists(g, g == 'b')", true],
    ["claims.groups.all(g, g == 'b')", false],
    ["'a' in claims.groups", true],
    ["'c' in claims.groups", false],
    ['claims.level + 1 == 3 && claims.level < 3', true],
    ['claims.level > 2', false],
    ['claims.ratio > 1.0 && claims.beta && claims.nothing == null', true],
    ["request.audience == 'payments' && request.dialect == 'oauth' && request.role == ''", true],
    ["request.dialect == 'vault'", false],
    ["request.scopes.all(s, s in ['read', 'write'])", true],
    ["request.scopes.all(s, s == 'read')", false],
    ["has(pod.name) && pod.name != ''", true],
    ["has(pod.name) && pod.name != ''", false, unbound],
    ["!has(pod.name) || pod.name.startsWith('x')", true, unbound],
    ["timestamp('2026-01-05T09:30:00Z').getHours('Europe/Berlin') == 10", true],
    ["timestamp(claims.iat * 1000) > timestamp('2026-01-05T09:30:00Z')", true],
    ["issuer == 'github' && subject.startsWith('repo:acme/')", true, job],
    ["issuer == 'github' && subject.startsWith('repo:acme2/')", false, job],
    ["client == 'ci'", true, ci],
    ["client == 'cd'", false, ci],
    ["provider == 'idp' && subject == 'alice' && 'ops' in groups", true, alice],
    ["provider == 'idp' && 'admins' in groups", false, alice],
    // What is not there is an error, and an error is a deny.
    ["pod.name == 'x' || true", true, unbound],
    ["pod.name != 'x'", /unresolved attribute; this subject has no pod$/, unbound],
    ["!(pod.name == 'x')", /this subject has no pod$/, unbound],
    ["namespace != 'bank'", /this subject has no namespace$/, job],
    ["issuer != 'github'", /this subject has no issuer$/],
    ["client != 'ci'", /this subject has no client$/, alice],
    ["claims.nope != 'x'", /field not found: nope/],
    ["!(claims.nope == 'x')", /field not found: nope/],
    ["claims.groups[5] != 'x'", /out of bounds/],
    ['claims.level / 0 == 1', /divide by zero/],
    ["claims.level + 'x' != ''", /no matching overload/],
    ["claims.level.startsWith('2')", /no matching overload/],
    ['int(claims.sub) == 1', /^error: /],
    ['timestamp(claims.sub) != timestamp(0)', /^error: /],
    ["duration('1x') > duration('1s')", /^error: /],
    ['9223372036854775807 + claims.level > 0', /overflow/],
    ['{claims.level: 1, claims.level: 2}.size() == 1', /^error: /],
    // Only true lets anybody in.
    ['claims.level', /^the result is no boolean$/],
    ["'true'", /^the result is no boolean$/],
    ['claims.groups', /^the result is no boolean$/],
    ['null', /^the result is no boolean$/],
    ['bool', /^the result is no boolean$/],
  ];
  for (const [text, expected, identity = workload] of rows) {
    it(`${text}, of a ${identity.kind}${identity === unbound ? ' without pod' : ''}: ${String(expected)}`, () => {
      const result = evaluate(text, identity);
      if (typeof expected === 'boolean') {
        expect(result).to.deep.equal(expected ? { ok: true } : { ok: false, got: false });
      } else {
        expect(result.ok).to.equal(false);
        expect(result.ok ? undefined : result.got).to.match(expected);
      }
    });
  }

  it('knows nothing from the prototypes of objects', () => {
    const given = JSON.parse('{"__proto__": {"admin": true}, "a": {}}') as Record<string, unknown>;
    expect(evaluate('claims.constructor != 1', workload, given).ok).to.equal(false);
    expect(evaluate('has(claims.toString)', workload, given)).to.deep.equal({
      ok: false,
      got: false,
    });
    expect(evaluate('claims.a.admin', workload, given).ok).to.equal(false);
    expect(evaluate("claims['__proto__'].admin", workload, given)).to.deep.equal({ ok: true });
  });
  it('leaves texts alone where they hold the word namespace', () => {
    const quotes = [
      `'namespace' == "namespace"`,
      String.raw`'it\'s namespace' == "it's namespace"`,
      String.raw`r'\namespace' == '\\namespace'`,
      `'''a 'namespace' b''' == "a 'namespace' b"`,
      `"""a "namespace" b""" == 'a "namespace" b'`,
      "claims['kubernetes.io'].namespace == claims['kubernetes.io']['namespace']",
      "['a'].exists(namespace, namespace == 'a')",
      "// a namespace\nnamespace == 'shop'",
    ];
    for (const text of quotes) expect(evaluate(text), text).to.deep.equal({ ok: true });
    // The letters themselves, and not the name that goes through the parser instead.
    expect(evaluate("'namespace'.startsWith('n') && !'namespace'.startsWith('N')")).to.deep.equal({
      ok: true,
    });
  });
  it('answers each time for itself', () => {
    const compiled = compile("pod.name.startsWith('checkout-')");
    if (!compiled.ok) throw new TypeError('no condition');
    const { condition } = compiled;
    const results = [workload, unbound, workload].map(
      (identity) => condition.evaluate(toSubject(identity), request).ok,
    );
    expect(results).to.deep.equal([true, false, true]);
  });
  it('says which kinds of subjects have its variables', () => {
    const kindsOf = (text: string) => {
      const compiled = compile(text);
      return compiled.ok ? compiled.condition.kinds : [];
    };
    expect(kindsOf("namespace == 'a'")).to.deep.equal(['workload']);
    expect(kindsOf("subject == 'a'")).to.deep.equal(['oidc', 'user']);
    expect(kindsOf("claims.a == 'a'")).to.deep.equal(['workload', 'oidc', 'client', 'user']);
    expect(kindsOf('namespace == issuer')).to.deep.equal([]);
  });
});

describe('a condition that is a problem of its role', () => {
  const rows: readonly [title: string, text: string, problem: RegExp][] = [
    ['nothing', '', /^is not valid CEL at line 1, column 1$/],
    ['no expression', 'pod.name ==', /^is not valid CEL at line 1, column 10$/],
    [
      'a mistake in its second line',
      "cluster == 'a' &&\n  pod.name = 'b'",
      /^is not valid CEL at line 2, column 12$/,
    ],
    ['an assignment', "namespace = 'a'", /^is not valid CEL/],
    [
      'a misspelt variable',
      "podd.name == 'a'",
      /^knows no variable of the name podd; did you mean pod\? at line 1, column 1$/,
    ],
    ['the name that stands for namespace', "Namespace == 'a'", /did you mean namespace\?/],
    ['a name of JavaScript', 'constructor == 1', /^knows no variable of the name constructor/],
    ['a name of the evaluator', '__result__ == 1', /^knows no variable/],
    [
      'a misspelt function',
      "pod.name.startWith('a')",
      /^knows no function of the name startWith at line 1, column 9$/,
    ],
    ['a function of our own', 'tick(1, true)', /^knows no function of the name tick/],
    [
      'input and output',
      "httpGet('http://a.test') == ''",
      /^knows no function of the name httpGet/,
    ],
    ['a message', 'google.protobuf.Value{} == null', /makes a message, which no condition may/],
    [
      'a pattern out of the token',
      'pod.name.matches(claims.pattern)',
      /must have a literal text as pattern/,
    ],
    [
      'a pattern put together',
      "pod.name.matches('a' + 'b')",
      /must have a literal text as pattern/,
    ],
    [
      'a pattern that is none',
      "pod.name.matches('(')",
      /no regular expression \(RE2\) at line 1, column 9$/,
    ],
    ['a pattern that RE2 has not', "pod.name.matches('(a)\\\\1')", /printable ASCII/],
    ['a look-ahead', "pod.name.matches('a(?=b)')", /no regular expression/],
    ['a long pattern', `pod.name.matches('${'a'.repeat(129)}')`, /at most 128 characters/],
    ['a repetition too often', "pod.name.matches('a{65}')", /must not repeat more than 64 times/],
    ['repetitions of repetitions', "pod.name.matches('((a{9}){9}){9}')", /must be smaller/],
    [
      'a range of all characters without case',
      "pod.name.matches('(?i)[b-\\\\x{10fffe}]')",
      /printable ASCII/,
    ],
    [
      'four loops in one another',
      '[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))',
      /more than 3 loops/,
    ],
    [
      'four loops over one another',
      '[1].map(a, a).map(b, b).map(c, c).map(d, d) == [1]',
      /more than 3 loops/,
    ],
    ['a long text', `cluster == '${'a'.repeat(2048)}'`, /^must be at most 2048 characters$/],
    ['many brackets', `${'('.repeat(101)}true${')'.repeat(101)}`, /at most 100 opening brackets/],
    ['a long way down', `claims${'.a'.repeat(300)}`, /nested too deeply/],
  ];
  for (const [title, text, problem] of rows) {
    it(`is ${title}`, () => {
      const problems = problemsOf(text);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.match(problem);
    });
  }
  it('is told with all its problems at once', () => {
    expect(problemsOf("podd.name == 'a' && nodde.nam.startWith('a')")).to.have.length(3);
  });
  const near = [
    `cluster == '${'a'.repeat(2000)}'`,
    `${'('.repeat(100)}true${')'.repeat(100)}`,
    '[1].all(a, [1].all(b, [1].all(c, true)))',
    "pod.name.matches('a{64}')",
    `pod.name.matches('${'a'.repeat(128)}')`,
    "pod.name.matches('(?i)^Checkout-[a-z0-9]{5,10}$')",
    `claims${'.a'.repeat(200)}`,
  ];
  for (const text of near) {
    it(`is not ${text.slice(0, 60)}`, () => expect(problemsOf(text)).to.deep.equal([]));
  }
});

describe('the weight of a pattern', () => {
  const rows: readonly [pattern: string, weight: number][] = [
    ['abc', 3],
    ['a{10}', 15],
    ['a{2,10}', 17],
    ['a{2,}', 7],
    ['(ab){10}', 80],
    ['((ab){3}){3}', 108],
  ];
  for (const [pattern, weight] of rows) {
    it(`of ${pattern} is ${weight}`, () => expect(weighPattern(pattern)).to.equal(weight));
  }
  it('is no less than what the engine makes of it, so a heavy one is refused', () => {
    expect(findPatternProblem('(a{16}){16}')).to.match(/smaller/);
    expect(findPatternProblem('^checkout-[a-z0-9]{8,10}-[a-z0-9]{5}$')).to.equal(undefined);
  });
});

describe('the cost of a condition', () => {
  const nasty = [
    'claims.many.all(a, claims.many.exists(b, a == b))',
    "claims.many.exists(a, claims.many.exists(b, claims.many.exists(c, a + b + c == 'x')))",
    'claims.many.map(x, x).size() == 1',
    'claims.many.map(x, claims.text).size() == 1',
    'claims.many.map(x, {x: x}).size() == 1',
    'claims.many.map(x, [x, x, x, x, x, x, x, x]).size() == 1',
    '[claims.many, claims.many].map(x, x + x).map(x, x + x).map(x, x + x).size() == 1',
    "['a'].map(x, claims.text + claims.text).map(x, x + x + x + x).map(x, x + x + x + x)[0].size() == 1",
    "claims.many.all(x, !claims.text.contains(claims.text + 'b'))",
    "claims.many.all(x, !claims.text.contains('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'))",
    "claims.many.all(x, claims.text.matches('(a|a|aa)*b'))",
    "claims.text.matches('(?i)[a-z]{64}[a-z]{64}[a-z]{64}')",
    "claims.many.all(x, !x.matches('^(a+)+$'))",
    "claims.many.all(x, timestamp(1).getHours('Europe/Berlin') > 0)",
    'claims.many.all(x, int(claims.text) == 1 || true)',
    'claims.many.all(x, double(claims.text) != 1.0)',
    "claims.many.all(x, claims != {'a': claims})",
    'claims.many.all(x, claims == claims)',
    'claims.many.all(x, x in claims.many)',
    "claims.many.all(x, bytes(claims.text) != b'1')",
    "claims.many.all(x, string(bytes(claims.text)) != 'a')",
    'claims.many.all(a, claims.many.exists(b, a == b)) || true',
    `${'claims.many + '.repeat(140)}[] == []`,
    `${'claims == claims && '.repeat(90)}true`,
    `${'claims.text + '.repeat(140)}'' == 'a'`,
  ];
  for (const text of nasty) {
    it(`ends in a deny: ${text.slice(0, 90)}`, () => {
      const result = evaluate(text);
      expect(result).to.deep.equal({ ok: false, got: 'error: the condition takes too many steps' });
    });

    it(`is a deny within milliseconds: ${text.slice(0, 90)}`, () => {
      evaluate(text);
      // The first time compiles the evaluator itself. Far above what it takes, because other suites run beside this one.
      const times = Array.from({ length: 5 }, () => {
        const started = performance.now();
        evaluate(text);
        return performance.now() - started;
      });
      expect(Math.min(...times)).to.be.below(25);
    });
  }
  it('is nothing like the bound for what people write', () => {
    const allowance = { steps: MAX_STEPS };
    const compiled = compile(
      "namespace == 'shop' && pod.name.matches('^checkout-[a-z0-9]+-[a-z0-9]$') && claims.groups.exists(g, g == 'b')",
    );
    if (!compiled.ok) throw new TypeError('no condition');
    const { many: _many, text: _text, ...few } = claims;
    expect(compiled.condition.evaluate(toSubject(workload, few), request, allowance).ok).to.equal(
      true,
    );
    expect(MAX_STEPS - allowance.steps).to.be.within(1, MAX_STEPS / 8);
  });
  it('is taken from what all conditions of a request may cost together', () => {
    const compiled = compile("claims.groups.exists(g, g == 'b')");
    if (!compiled.ok) throw new TypeError('no condition');
    const small = toSubject(workload, { groups: ['a', 'b'] });
    const allowance = { steps: 60 };
    const results = [1, 2, 3, 4, 5, 6].map(
      () => compiled.condition.evaluate(small, request, allowance).ok,
    );
    expect(results[0]).to.equal(true);
    expect(results.at(-1)).to.equal(false);
    expect(compiled.condition.evaluate(small, request).ok).to.equal(true);
  });
  it('does not grow with claims that a condition does not ask for', () => {
    const allowance = { steps: MAX_STEPS };
    const compiled = compile("namespace == 'shop'");
    if (!compiled.ok) throw new TypeError('no condition');
    expect(compiled.condition.evaluate(toSubject(workload), request, allowance)).to.deep.equal({
      ok: true,
    });
    expect(MAX_STEPS - allowance.steps).to.be.below(10);
  });
  it('counts claims that are nested deeply, and never throws', () => {
    let deep: unknown = 'x';
    for (let i = 0; i < 20_000; i++) deep = [deep];
    const result = evaluate('claims.deep != null', workload, { deep });
    expect(result.ok).to.equal(false);
  });
});
