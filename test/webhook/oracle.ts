// A second, naive opinion on the injection: takes the pod before and after and checks what the contract promises, one promise
// after the other, with code that shares nothing with webhook/ (only fast-json-patch). Slow and plain on purpose.
import { expect } from 'chai';
import jsonpatch from 'fast-json-patch';
import type { InjectSettings } from '../../webhook/inject-settings.ts';

// biome-ignore lint/suspicious/noExplicitAny: raw pods of any shape.
type Any = any;

const copy = (value: Any): Any => structuredClone(value);
const OURS = ['coatcheck-exchange', 'coatcheck-exchange-init'];
const VOLUMES = ['coatcheck-identity', 'coatcheck-tokens'];
const VARIABLES = ['AUTH_TOKEN_FILE', 'AUTH_TOKEN_DIR', 'AUTH_ISSUER', 'AUTH_CA_FILE'];

/** The patched pod; `input` stays as it is. Refuses patches that hold anything but `add`, and `replace` under our names. */
export function applyOperations(input: Any, operations: readonly Any[]): Any {
  for (const { op } of operations) expect(op).to.be.oneOf(['add', 'replace']);
  return jsonpatch.applyPatch(copy(input), copy(operations), true, true, false).newDocument;
}

/** Removes everything under our names: what is left must be the input (without what it already had of ours). */
function withoutOurs(pod: Any, input: Any, settings: InjectSettings): Any {
  const left = copy(pod);
  const key = `${settings.prefix}status`;
  delete left.metadata.annotations[key];
  for (const extra of Object.keys(settings.podAnnotations)) {
    if (!(extra in (input.metadata.annotations ?? {}))) delete left.metadata.annotations[extra];
  }
  const strip = (list: Any, names: readonly string[]): Any =>
    list?.filter((item: Any) => !names.includes(item.name));
  left.spec.volumes = strip(left.spec.volumes, VOLUMES);
  left.spec.initContainers = strip(left.spec.initContainers, OURS);
  for (const list of ['initContainers', 'containers']) {
    for (const container of left.spec[list] ?? []) {
      const before = findContainer(input, container.name);
      container.volumeMounts = strip(container.volumeMounts, VOLUMES);
      const own = (before?.env ?? []).map((variable: Any) => variable.name);
      container.env = container.env?.filter(
        (variable: Any) => own.includes(variable.name) || !VARIABLES.includes(variable.name),
      );
      for (const field of ['env', 'volumeMounts']) dropIfEmpty(container, field, before);
    }
  }
  for (const field of ['volumes', 'initContainers']) dropIfEmpty(left.spec, field, input.spec);
  return left;
}

function dropIfEmpty(owner: Any, field: string, before: Any): void {
  const isNew = before?.[field] === undefined || before[field] === null;
  if (owner[field] === undefined || (isNew && owner[field].length === 0)) {
    if (before && field in before) owner[field] = before[field];
    else delete owner[field];
  }
}

function findContainer(pod: Any, name: string): Any {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers].find(
    (one: Any) => one.name === name,
  );
}

interface Wish {
  audiences: { name: string; audience: string; role?: string }[];
  mode: 'init' | 'refresh';
  order: string;
  expiration: number;
  deadline: number;
}

/** Reads valid annotations the naive way. Names that are hashes are taken from the file the pod ended with. */
function readWish(pod: Any, after: Any, settings: InjectSettings): Wish {
  const get = (key: string): string | undefined => pod.metadata.annotations[settings.prefix + key];
  const sources: Any[] = after.spec.volumes.find((v: Any) => v.name === 'coatcheck-identity')
    .projected.sources;
  const names = new Map<string, string>(
    sources.map((s: Any) => [s.serviceAccountToken.audience, s.serviceAccountToken.path]),
  );
  const audiences: Wish['audiences'] = (get('audience') ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean)
    .map((audience) => ({ audience, name: nameOf(audience, names) }));
  const start = `${settings.prefix}audience.`;
  for (const key of Object.keys(pod.metadata.annotations)
    .filter((k) => k.startsWith(start))
    .sort()) {
    audiences.push({ name: key.slice(start.length), audience: pod.metadata.annotations[key] });
  }
  for (const one of audiences) {
    const role = get(`role.${one.name}`) ?? get('role');
    if (role !== undefined) one.role = role;
  }
  const isAlways = (pod.spec.restartPolicy ?? 'Always') === 'Always';
  const fallback =
    settings.defaultMode === 'auto' ? (isAlways ? 'refresh' : 'init') : settings.defaultMode;
  return {
    audiences,
    mode: (get('mode') as Wish['mode']) ?? fallback,
    order: get('init-order') ?? settings.initOrder,
    expiration: Number(get('token-expiration') ?? settings.tokenExpirationSeconds),
    deadline: Number(get('deadline') ?? settings.deadlineSeconds),
  };
}

function nameOf(audience: string, names: Map<string, string>): string {
  if (/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(audience) && audience.length <= 52) return audience;
  const name = names.get(audience) ?? '';
  expect(name, 'a readable slug with a hash').to.match(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9a-f]{8}$/,
  );
  expect(name.length).to.be.at.most(52);
  return name;
}

/** Asserts every promise about a pod that asked for a token and was admitted. */
export function checkPromises(input: Any, after: Any, settings: InjectSettings): void {
  const stripped = withoutOurs(input, input, settings);
  expect(withoutOurs(after, input, settings), 'result = input + ours').to.deep.equal(stripped);
  const wish = readWish(input, after, settings);
  checkVolumes(after, wish, settings);
  checkExchange(input, after, { wish, settings });
  checkContainers(input, after, { wish, settings });
  expect(after.metadata.annotations[`${settings.prefix}status`], 'status')
    .to.be.a('string')
    .that.includes(wish.mode);
  for (const [key, value] of Object.entries(settings.podAnnotations)) {
    expect(after.metadata.annotations[key]).to.equal(input.metadata.annotations[key] ?? value);
  }
}

function checkVolumes(after: Any, wish: Wish, settings: InjectSettings): void {
  const find = (name: string) => {
    const found = after.spec.volumes.filter((volume: Any) => volume.name === name);
    expect(found, `one volume ${name}`).to.have.length(1);
    return found[0];
  };
  expect(find('coatcheck-identity').projected.sources).to.deep.equal(
    wish.audiences.map(({ name, audience }) => ({
      serviceAccountToken: { audience, expirationSeconds: wish.expiration, path: name },
    })),
  );
  expect(find('coatcheck-tokens').emptyDir).to.deep.equal({
    medium: 'Memory',
    sizeLimit: settings.tokensSizeLimit,
  });
}

function checkExchange(
  input: Any,
  after: Any,
  { wish, settings }: { wish: Wish; settings: InjectSettings },
): void {
  const inits: Any[] = after.spec.initContainers;
  const at = (name: string) => inits.findIndex((one) => one.name === name);
  const main = at('coatcheck-exchange');
  const before = at('coatcheck-exchange-init');
  expect(main, 'coatcheck-exchange is there').to.be.at.least(0);
  expect(new Set(inits.map((one) => one.name)).size, 'no name twice').to.equal(inits.length);
  const isAlways = (input.spec.restartPolicy ?? 'Always') === 'Always';
  if (wish.mode === 'refresh' && !isAlways)
    expect(before, 'a plain exchange before').to.be.within(0, main - 1);
  checkOrder(input, inits, wish);
  for (const container of inits.filter((one) => OURS.includes(one.name))) {
    const isSidecar = container.name === 'coatcheck-exchange' && wish.mode === 'refresh';
    checkOurContainer(input, container, { wish, settings, isSidecar });
  }
}

/** First time: where the order says. Later: where it was, with the same neighbours before it. */
function checkOrder(input: Any, inits: Any[], wish: Wish): void {
  const names = inits.map((one) => one.name);
  const main = names.indexOf('coatcheck-exchange');
  const had: string[] = (input.spec.initContainers ?? []).map((one: Any) => one.name);
  const firstOfOurs = had.findIndex((name) => OURS.includes(name));
  if (firstOfOurs === -1) {
    const first = names.filter((name) => OURS.includes(name)).length - 1;
    expect(main).to.equal(wish.order === 'first' ? first : inits.length - 1);
    return;
  }
  const foreign = (list: string[]) => list.filter((name) => !OURS.includes(name));
  const until = Math.max(firstOfOurs, had.indexOf('coatcheck-exchange'));
  expect(foreign(names.slice(0, main)), 'keeps its place').to.deep.equal(
    foreign(had.slice(0, until)),
  );
}

interface OurOptions {
  wish: Wish;
  settings: InjectSettings;
  isSidecar: boolean;
}

function checkOurContainer(
  input: Any,
  container: Any,
  { wish, settings, isSidecar }: OurOptions,
): void {
  expect(container.image).to.equal(settings.image);
  expect(container.restartPolicy).to.equal(isSidecar ? 'Always' : undefined);
  expect(container.args).to.equal(undefined);
  expect(container.livenessProbe).to.equal(undefined);
  expect(container.terminationMessagePolicy).to.equal('File');
  const mounts = container.volumeMounts.filter((m: Any) => VOLUMES.includes(m.name));
  expect(mounts).to.deep.equal([
    { name: 'coatcheck-identity', mountPath: '/var/run/coatcheck/identity', readOnly: true },
    { name: 'coatcheck-tokens', mountPath: settings.mountRoot },
  ]);
  const probe = container.startupProbe;
  if (isSidecar) {
    expect(probe.exec.command).to.deep.equal([...container.command, '--check']);
    expect(probe.periodSeconds * probe.failureThreshold, 'long enough').to.be.at.least(
      wish.deadline,
    );
  } else expect(probe).to.equal(undefined);
  checkOurEnv(container, { wish, settings, isSidecar });
  checkOurSecurity(input, container);
  checkOurResources(input, container.resources);
}

/** What the process sees: `$$` is how `$` is written (the kubelet expands `$(NAME)` of variables defined before). */
export function expandAsKubelet(
  env: readonly { name: string; value: string }[],
): Map<string, string> {
  const values = new Map<string, string>();
  for (const { name, value } of env) {
    values.set(
      name,
      value.replace(/\$(\$|\(([^)]*)\))/g, (all, first, variable) =>
        first === '$' ? '$' : (values.get(variable) ?? all),
      ),
    );
  }
  return values;
}

function checkOurEnv(container: Any, { wish, settings, isSidecar }: OurOptions): void {
  const env = expandAsKubelet(container.env);
  const expected = new Map<string, string>([
    ['COATCHECK_MODE', isSidecar ? 'refresh' : 'init'],
    ['COATCHECK_BROKER_URL', settings.brokerUrl],
    ['COATCHECK_IDENTITY_DIR', '/var/run/coatcheck/identity'],
    ['COATCHECK_TOKENS_DIR', settings.mountRoot],
    ['COATCHECK_DEADLINE_SECONDS', String(wish.deadline)],
  ]);
  if (settings.brokerCa) expected.set('COATCHECK_BROKER_CA', settings.brokerCa);
  if (settings.brokerFallbackAddress)
    expected.set('COATCHECK_BROKER_FALLBACK_ADDRESS', settings.brokerFallbackAddress);
  expect(JSON.parse(env.get('COATCHECK_AUDIENCES') ?? '')).to.deep.equal(
    wish.audiences.map(({ name, audience, role }) => ({
      name,
      audience,
      ...(role !== undefined && { role }),
    })),
  );
  env.delete('COATCHECK_AUDIENCES');
  expect([...env].sort()).to.deep.equal([...expected].sort());
}

function foreignContainers(pod: Any): Any[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers].filter(
    (one: Any) => !OURS.includes(one.name),
  );
}

function checkOurSecurity(input: Any, container: Any): void {
  const context = container.securityContext;
  expect(context.allowPrivilegeEscalation).to.equal(false);
  expect(context.capabilities).to.deep.equal({ drop: ['ALL'] });
  expect(context.readOnlyRootFilesystem).to.equal(true);
  expect(context.seccompProfile).to.deep.equal({ type: 'RuntimeDefault' });
  const podUid = input.spec.securityContext?.runAsUser;
  const uids = foreignContainers(input).map((one) => one.securityContext?.runAsUser ?? podUid);
  const isOne = uids.every((uid) => uid === uids[0]) && uids[0] !== undefined && uids[0] !== null;
  expect(context.runAsUser).to.equal(isOne ? uids[0] : undefined);
  const effective = context.runAsUser ?? podUid;
  expect(context.runAsNonRoot).to.equal(effective !== 0);
}

function checkOurResources(input: Any, resources: Any): void {
  const pod = input.spec.resources ?? {};
  const shared = ['cpu', 'memory'].filter(
    (name) => pod.requests?.[name] !== undefined || pod.limits?.[name] !== undefined,
  );
  const milli = (text: string) =>
    text.endsWith('m') ? Number(text.slice(0, -1)) : Number(text) * 1000;
  if (!shared.includes('cpu')) expect(milli(resources.limits.cpu)).to.be.at.least(500);
  if (!shared.includes('memory')) expect(resources.limits.memory).to.match(/^\d+[MG]i$/);
  for (const name of shared) {
    expect(resources.requests?.[name]).to.equal(undefined);
    expect(resources.limits?.[name]).to.equal(undefined);
  }
  const isGuaranteed = foreignContainers(input).every(({ resources: own }) =>
    ['cpu', 'memory'].every(
      (name) =>
        own?.limits?.[name] !== undefined &&
        isSameAmount(own.limits[name], own.requests?.[name] ?? own.limits[name]),
    ),
  );
  if (isGuaranteed) expect(resources.requests).to.deep.equal(resources.limits);
  else if (shared.length === 0) expect(milli(resources.requests.cpu)).to.be.at.most(100);
}

function isSameAmount(left: string, right: string): boolean {
  const plain = (text: string) => {
    const [, number, unit = ''] = /^([\d.]+)(m|Ki|Mi|Gi)?$/.exec(String(text)) ?? [];
    return Number(number) * ({ m: 0.001, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }[unit] ?? 1);
  };
  return plain(left) === plain(right);
}

function checkContainers(
  input: Any,
  after: Any,
  { wish, settings }: { wish: Wish; settings: InjectSettings },
): void {
  const inits: Any[] = after.spec.initContainers;
  const exchange = inits.findIndex((one) => one.name === 'coatcheck-exchange');
  const get = (key: string) => input.metadata.annotations[settings.prefix + key];
  const split = (text: string) => text.split(',').map((one) => one.trim());
  for (const container of foreignContainers(after)) {
    const position = inits.indexOf(container);
    const isAfter = position === -1 || position > exchange;
    const gets = wish.audiences.filter(({ name }) => {
      const list = get(`containers.${name}`) ?? get('containers');
      return list === undefined
        ? isAfter && !settings.skipContainers.includes(container.name)
        : split(list).includes(container.name);
    });
    checkOne(findContainer(input, container.name), container, { gets, wish, settings });
  }
}

function checkOne(
  before: Any,
  container: Any,
  { gets, wish, settings }: { gets: Wish['audiences']; wish: Wish; settings: InjectSettings },
): void {
  const where = `container ${container.name}`;
  const mounts = (container.volumeMounts ?? []).filter((m: Any) => VOLUMES.includes(m.name));
  expect(
    mounts.every((m: Any) => m.name === 'coatcheck-tokens' && m.readOnly === true),
    `${where} mounts read-only`,
  ).to.equal(true);
  const root = settings.mountRoot;
  const isWhole = gets.length === wish.audiences.length;
  const expected = isWhole
    ? [[root, undefined]]
    : gets.map(({ name }) => [`${root}/${name}`, name]);
  expect(
    mounts.map((m: Any) => [m.mountPath, m.subPath]),
    `${where} mounts`,
  ).to.have.deep.members(gets.length === 0 ? [] : expected);
  if (gets.length === 0) return;
  const first = `${root}/${gets[0]?.name}`;
  const values: Record<string, string> = {
    AUTH_TOKEN_FILE: `${first}/token`,
    AUTH_TOKEN_DIR: root,
    AUTH_ISSUER: settings.issuer,
    ...(settings.brokerCa && { AUTH_CA_FILE: `${isWhole ? root : first}/ca.crt` }),
  };
  const own = new Map((before?.env ?? []).map((one: Any) => [one.name, one]));
  const added = Object.keys(values).filter((name) => !own.has(name));
  expect(container.env.slice(0, added.length), `${where} variables first`).to.deep.equal(
    added.map((name) => ({ name, value: values[name] })),
  );
  expect(container.env.slice(added.length), `${where} keeps its own`).to.deep.equal(
    before?.env ?? [],
  );
}
