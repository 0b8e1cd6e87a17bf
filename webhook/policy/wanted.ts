// What is ours in a pod, in CEL: the volumes, the exchange containers and the status as this pod needs them. Made from the
// same functions that the webhook makes them with, so that the two cannot drift apart.
import type { JsonObject } from '../../common/protocol/admission.ts';
import {
  EXCHANGE_CONTAINER,
  EXCHANGE_INIT_CONTAINER,
  type Mode,
  TOKEN_FILE,
} from '../../common/protocol/pod.ts';
import type { TokenRequest } from '../annotations.ts';
import { prepareExchange, toExchangeContainer } from '../exchange-container.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { type ResourceClass, toResources } from '../resources.ts';
import { toSecurityContext } from '../security.ts';
import { toVolumes } from '../volumes.ts';
import { type CelValue, cel, choose, literal, quoted, type Variable } from './cel.ts';
import { isOurs } from './containers.ts';

export function toWantedVariables(settings: InjectSettings): readonly Variable[] {
  return [
    ...toPodVariables(settings),
    { name: 'wantedVolumes', expression: literal(toVolumeValues(settings)) },
    ...toExchangeVariables(settings),
    { name: 'status', expression: toStatus(settings) },
  ];
}

/** What our containers take from the pod: its uid, its resources. */
function toPodVariables(settings: InjectSettings): readonly Variable[] {
  const uidOf = (owner: string, fallback: string) =>
    `(has(${owner}.securityContext) && has(${owner}.securityContext.runAsUser) ? ${owner}.securityContext.runAsUser : ${fallback})`;
  const isBudgeted = (name: string) =>
    `has(variables.spec.resources) && ["requests", "limits"].exists(kind, kind in variables.spec.resources && ${quoted(name)} in variables.spec.resources[kind])`;
  return [
    {
      name: 'foreign',
      expression: `variables.init.filter(c, !${isOurs('c.name')}) + variables.apps.filter(c, !${isOurs('c.name')})`,
    },
    // Minus one: not stated. The API server allows no such uid.
    { name: 'podUid', expression: uidOf('variables.spec', '-1') },
    {
      name: 'uids',
      expression: `variables.foreign.map(c, ${uidOf('c', 'variables.podUid')})`,
    },
    {
      name: 'uid',
      expression: 'variables.uids.all(uid, uid == variables.uids[0]) ? variables.uids[0] : -1',
    },
    {
      name: 'isRoot',
      expression: '(variables.uid == -1 ? variables.podUid : variables.uid) == 0',
    },
    { name: 'isGuaranteed', expression: `variables.foreign.all(c, ${isFixed('c')})` },
    {
      name: 'resourceClass',
      expression: `(variables.isGuaranteed ? "guaranteed" : "burstable") + (${isBudgeted('cpu')} ? "+cpu" : "") + (${isBudgeted('memory')} ? "+memory" : "")`,
    },
    { name: 'resources', expression: toResourcesChoice(settings) },
  ];
}

/** Whether the container has limits for both, and requests that say nothing else. */
function isFixed(container: string): string {
  const resources = `${container}.resources`;
  const of = (kind: string) => `quantity(string(${resources}.${kind}[r]))`;
  return (
    `has(${resources}) && has(${resources}.limits) && ["cpu", "memory"].all(r, r in ${resources}.limits && ` +
    `${of('limits')}.isGreaterThan(quantity("0")) && (!has(${resources}.requests) || !(r in ${resources}.requests) || ${of('requests')}.compareTo(${of('limits')}) == 0))`
  );
}

function toResourcesChoice(settings: InjectSettings): string {
  const classes = ['guaranteed', 'burstable'].flatMap((qos) =>
    ['', '+cpu', '+memory', '+cpu+memory'].map((budget) => `${qos}${budget}` as ResourceClass),
  );
  const cases = classes.map((one): readonly [string, string] => [
    `variables.resourceClass == ${quoted(one)}`,
    `dyn(${literal(toCelValue(toResources(one, settings)))})`,
  ]);
  return choose(cases, 'dyn({})');
}

function toVolumeValues(settings: InjectSettings): CelValue {
  const one = { name: 'NAME', audience: 'AUDIENCE' };
  const [identity, tokens] = toVolumes(toRequest({ audiences: [one] }), settings);
  const source = {
    serviceAccountToken: {
      audience: cel('a.audience'),
      expirationSeconds: cel('variables.expiration'),
      path: cel('a.name'),
    },
  };
  const projected = identity?.projected as JsonObject;
  return [
    {
      ...toCelValue(identity),
      projected: {
        ...toCelValue(projected),
        sources: cel(`variables.asked.map(a, ${literal(source)})`),
      },
    },
    toCelValue(tokens),
  ];
}

/** A request of which only what is given counts. */
function toRequest(given: Partial<TokenRequest>): TokenRequest {
  return {
    audiences: [],
    initOrder: 'first',
    tokenExpirationSeconds: 0,
    deadlineSeconds: 0,
    containersByAudience: new Map(),
    ...given,
  };
}

function toCelValue(value: JsonObject | undefined): { readonly [key: string]: CelValue } {
  return (value ?? {}) as { readonly [key: string]: CelValue };
}

function toExchangeVariables(settings: InjectSettings): readonly Variable[] {
  const withRole = `(a.role == "" ? "" : ',"role":"' + a.role + '"')`;
  const plainSecurity = toSecurityContext({ uid: undefined, isRoot: false });
  const security = { ...toCelValue(plainSecurity), runAsNonRoot: cel('!variables.isRoot') };
  return [
    {
      name: 'audiencesText',
      // The kubelet expands `$(X)` in values: no bare `$` remains.
      expression: `("[" + variables.asked.map(a, '{"name":"' + a.name + '","audience":"' + a.audience + '"' + ${withRole} + "}").join(",") + "]").replace("$", "\\\\u0024")`,
    },
    { name: 'environment', expression: literal(toEnvironment(settings)) },
    {
      name: 'security',
      expression: `variables.uid == -1 ? dyn(${literal(security)}) : dyn(${literal({ ...security, runAsUser: cel('variables.uid') })})`,
    },
    {
      name: 'plain',
      expression: toContainer(settings, { name: EXCHANGE_CONTAINER, mode: 'init' }),
    },
    {
      name: 'plainFirst',
      expression: toContainer(settings, { name: EXCHANGE_INIT_CONTAINER, mode: 'init' }),
    },
    {
      name: 'sidecar',
      expression: toContainer(settings, { name: EXCHANGE_CONTAINER, mode: 'refresh' }),
    },
    // A failing native sidecar restarts for ever: where the pod itself would not, a plain one goes first. One that is left
    // over from a copied pod stays.
    {
      name: 'isPlainFirst',
      expression: `(variables.mode == "refresh" && variables.restartPolicy != "Always") || variables.init.exists(c, c.name == ${quoted(EXCHANGE_INIT_CONTAINER)})`,
    },
    {
      name: 'wanted',
      expression:
        '(variables.isPlainFirst ? [dyn(variables.plainFirst)] : []) + [dyn(variables.mode == "refresh" ? variables.sidecar : variables.plain)]',
    },
  ];
}

/** All of our variables but the first, which says the mode. */
function toEnvironment(settings: InjectSettings): CelValue {
  const dynamic: Readonly<Record<string, CelValue>> = {
    COATCHECK_AUDIENCES: cel('variables.audiencesText'),
    COATCHECK_DEADLINE_SECONDS: cel('string(variables.deadline)'),
  };
  const { env } = toTemplate(settings, { name: EXCHANGE_CONTAINER, mode: 'init' });
  return (env as readonly JsonObject[]).slice(1).map((variable) => ({
    ...toCelValue(variable),
    value: dynamic[String(variable.name)] ?? String(variable.value),
  }));
}

interface ContainerKind {
  readonly name: string;
  readonly mode: Mode;
}

/** The container as the webhook writes it for some pod. */
function toTemplate(settings: InjectSettings, { name, mode }: ContainerKind): JsonObject {
  return toExchangeContainer(name, prepareExchange(settings), {
    request: toRequest({}),
    mode,
    resources: 'burstable',
    security: { uid: undefined, isRoot: false },
  });
}

function toContainer(settings: InjectSettings, kind: ContainerKind): string {
  const template = toTemplate(settings, kind);
  const probe = template.startupProbe as JsonObject | undefined;
  const [mode] = template.env as readonly JsonObject[];
  return literal({
    ...toCelValue(template),
    env: cel(`[dyn(${literal(toCelValue(mode))})] + variables.environment`),
    resources: cel('variables.resources'),
    securityContext: cel('variables.security'),
    ...(probe && {
      startupProbe: {
        ...toCelValue(probe),
        failureThreshold: cel(`variables.deadline + ${probe.failureThreshold}`),
      },
    }),
  });
}

function toStatus({ mountRoot }: InjectSettings): string {
  const role = `(a.role == "" ? "" : ',"role":"' + a.role + '"')`;
  const file = `${quoted(`","file":"${mountRoot}/`)} + a.name + ${quoted(`/${TOKEN_FILE}"`)}`;
  const audiences = `variables.asked.map(a, '{"audience":"' + a.audience + ${file} + ${role} + "}").join(",")`;
  const some = `',"audiences":[' + t.given.map(j, '"' + variables.asked[j].name + '"').join(",") + "]"`;
  const containers = `variables.targets.map(t, '{"name":"' + t.name + '"' + (t.given.size() < variables.asked.size() ? ${some} : "") + "}").join(",")`;
  return `'{"mode":"' + variables.mode + '","audiences":[' + ${audiences} + '],"containers":[' + ${containers} + "]}"`;
}
