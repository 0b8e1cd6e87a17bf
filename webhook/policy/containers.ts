// The pod's containers in CEL: which are not ours, which of them get which audiences, and what they lack of it. The
// counterpart of webhook/targets.ts, mounts.ts and app-container.ts.
import { MAX_AUDIENCES } from '../../common/protocol/audiences.ts';
import {
  CA_FILE,
  EXCHANGE_CONTAINER,
  EXCHANGE_INIT_CONTAINER,
  TOKEN_FILE,
  TOKENS_VOLUME,
} from '../../common/protocol/pod.ts';
import { escapeExpansion } from '../exchange-container.ts';
import type { InjectSettings } from '../inject-settings.ts';
import {
  type CelValue,
  cel,
  choose,
  indices,
  literal,
  member,
  quoted,
  type Variable,
} from './cel.ts';
import { EVERYONE } from './request.ts';

/** Those that are not ours, of both lists together. A pod with more needs the webhook: CEL's cost is bounded, and so is the status. */
export const MOST_CONTAINERS = 40;
/** With ours. */
const MOST_PLACES = MOST_CONTAINERS + 2;

export function isOurs(name: string): string {
  return `(${name} in ${literal([EXCHANGE_CONTAINER, EXCHANGE_INIT_CONTAINER])})`;
}

export function toContainerVariables(settings: InjectSettings): readonly Variable[] {
  return [
    { name: 'init', expression: member('variables.spec', 'initContainers', '[]') },
    { name: 'apps', expression: 'variables.spec.containers' },
    // Where our containers stand among the init containers.
    {
      name: 'present',
      expression: `${indices('variables.init.size()', MOST_PLACES)}.filter(i, ${isOurs('variables.init[i].name')})`,
    },
    // Init containers with a greater index find the token.
    {
      name: 'startsAfter',
      expression: choose(
        [
          ['variables.present.size() > 0', 'variables.present[variables.present.size() - 1]'],
          ['variables.order == "first"', '-1'],
        ],
        String(MOST_PLACES),
      ),
    },
    {
      name: 'places',
      expression: `${toPlaces('init', 'initContainers', 'i > variables.startsAfter')} + ${toPlaces('apps', 'containers', 'true')}`,
    },
    {
      name: 'targets',
      expression: `variables.places.map(p, ${withMembers({ given: cel(toGiven(settings)) })}).filter(t, t.given.size() > 0)`,
    },
    {
      name: 'plans',
      expression: `variables.targets.map(t, ${toPlan(settings)})`,
    },
    {
      name: 'work',
      expression: `variables.plans.map(p, ${literal({
        name: cel('p.name'),
        path: cel('p.path'),
        env: cel('p.env'),
        mounts: cel('p.mounts'),
        missing: cel('p.wantedEnv.filter(w, !(w.name in p.names))'),
        open: cel('p.wantedMounts.filter(w, !(w in p.ours))'),
        spare: cel('p.ours.filter(m, !(m in p.wantedMounts))'),
      })})`,
    },
  ];
}

const PLACE = ['name', 'path', 'isLate', 'env', 'mounts'] as const;

/** The members of a place `p`, and more. */
function withMembers(more: Readonly<Record<string, CelValue>>): string {
  return literal({ ...Object.fromEntries(PLACE.map((one) => [one, cel(`p.${one}`)])), ...more });
}

function toPlaces(list: string, member_: string, isLate: string): string {
  const container = `variables.${list}[i]`;
  const place = literal({
    name: cel(`${container}.name`),
    path: cel(`"/spec/${member_}/" + string(i)`),
    isLate: cel(isLate),
    env: cel(member(container, 'env', '[]')),
    mounts: cel(member(container, 'volumeMounts', '[]')),
  });
  return `${indices(`variables.${list}.size()`, MOST_PLACES)}.filter(i, !${isOurs(`${container}.name`)}).map(i, ${place})`;
}

/** The audiences that the container of place `p` gets, as indices of `asked`. */
function toGiven({ skipContainers }: InjectSettings): string {
  const isDefault = `(!(p.name in ${literal([...skipContainers])}) && p.isLate)`;
  return `${indices('variables.asked.size()', MAX_AUDIENCES)}.filter(j, variables.lists[j] == ${literal([EVERYONE])} ? ${isDefault} : p.name in variables.lists[j])`;
}

/** Target `t` with what it is to have. */
function toPlan({ mountRoot, issuer, brokerCa }: InjectSettings): string {
  const directory = (index: string) =>
    `${quoted(`${mountRoot}/`)} + variables.asked[${index}].name`;
  const first = directory('t.given[0]');
  const isWhole = 't.given.size() == variables.asked.size()';
  const whole = { name: TOKENS_VOLUME, mountPath: mountRoot, readOnly: true };
  const part = {
    name: TOKENS_VOLUME,
    mountPath: cel(directory('j')),
    readOnly: true,
    subPath: cel('variables.asked[j].name'),
  };
  const wantedEnv: CelValue[] = [
    { name: 'AUTH_TOKEN_FILE', value: cel(`${first} + ${quoted(`/${TOKEN_FILE}`)}`) },
    { name: 'AUTH_TOKEN_DIR', value: mountRoot },
    { name: 'AUTH_ISSUER', value: escapeExpansion(issuer) },
  ];
  if (brokerCa) {
    const caDirectory = `(${isWhole} ? ${quoted(mountRoot)} : ${first})`;
    wantedEnv.push({
      name: 'AUTH_CA_FILE',
      value: cel(`${caDirectory} + ${quoted(`/${CA_FILE}`)}`),
    });
  }
  return literal({
    name: cel('t.name'),
    path: cel('t.path'),
    env: cel('t.env'),
    mounts: cel('t.mounts'),
    // Comparing whole mounts and variables costs, and most of them are the pod's own.
    names: cel('t.env.map(e, string(e.name))'),
    ours: cel(`t.mounts.filter(m, m.name == ${quoted(TOKENS_VOLUME)})`),
    wantedEnv,
    wantedMounts: cel(`(${isWhole} ? ${literal([whole])} : t.given.map(j, dyn(${literal(part)})))`),
  });
}
