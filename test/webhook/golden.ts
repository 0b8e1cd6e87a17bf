// The golden cases: a folder each under cases/ with pod.yaml, case.yaml (who treats it so), maybe settings.yaml (what differs
// from the settings below), and what must come out: patch.json (and warnings.json) or denial.json. The cluster tier feeds the
// same pods to a real API server, by the webhook and by the policies.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import type { JsonObject, PatchOperation } from '../../common/protocol/admission.ts';
import type { Denial } from '../../webhook/errors.ts';
import type { InjectSettings } from '../../webhook/inject-settings.ts';
import { DEFAULT_SKIP_CONTAINERS } from '../../webhook/skip-containers.ts';

export type Expected =
  | { readonly operations: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly denials: readonly Denial[] };

export interface GoldenCase {
  readonly name: string;
  readonly folder: string;
  readonly pod: JsonObject;
  readonly settings: InjectSettings;
  readonly expected: Expected | undefined;
  /** The pod is invalid on purpose: a real API server refuses it even without us. */
  readonly apiServerRejects: boolean;
  /** Who injects this pod so, or refuses it so: the webhook, and the policies of `coatcheck render` too. */
  readonly modes: readonly string[];
  /** Why not the policies, where they do not. */
  readonly why: string | undefined;
}

/** What the operator of the policies names to them of the audiences that are no DNS labels. */
export const KNOWN_AUDIENCES: readonly string[] = [
  '../../etc',
  'https://api.example.io/v1?x=1&y=2#frag',
  'https://x.example.io',
  'x$(COATCHECK_BROKER_URL)$$y',
  '..',
  `https://${'a'.repeat(247)}`,
];

export const CASES = path.join(import.meta.dirname, 'cases');

/** Settings as an operator with a private CA has them. */
export const SETTINGS: InjectSettings = {
  prefix: 'auth.example.io/',
  brokerUrl: 'https://coatcheck-broker.coatcheck.svc',
  brokerFallbackAddress: '10.96.0.20:443',
  brokerCa: '-----BEGIN CERTIFICATE-----\nMIIBgolden\n-----END CERTIFICATE-----\n',
  issuer: 'https://coatcheck-broker.coatcheck.svc',
  image: 'registry.example.io/coatcheck/exchange:0.1.0',
  imagePullPolicy: 'IfNotPresent',
  exchangeCommand: ['/coatcheck-exchange'],
  mountRoot: '/var/run/secrets/auth.example.io',
  skipContainers: DEFAULT_SKIP_CONTAINERS,
  reservedAudiences: [],
  defaultMode: 'auto',
  initOrder: 'first',
  tokenExpirationSeconds: 3600,
  deadlineSeconds: 60,
  exchangeCpuRequest: '10m',
  exchangeCpuLimit: '500m',
  exchangeMemoryRequest: '48Mi',
  exchangeMemoryLimit: '128Mi',
  tokensSizeLimit: '1Mi',
  podAnnotations: {},
};

export function loadGoldenCases(): readonly GoldenCase[] {
  return readdirSync(CASES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => loadCase(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function loadCase(name: string): GoldenCase {
  const folder = path.join(CASES, name);
  // YAML 1.1, as kubectl reads it: 0644 is octal.
  const read = (file: string): unknown =>
    existsSync(path.join(folder, file))
      ? parse(readFileSync(path.join(folder, file), 'utf8'), { version: '1.1' })
      : undefined;
  const facts = (read('case.yaml') ?? {}) as {
    apiServerRejects?: boolean;
    modes?: readonly string[];
    why?: string;
  };
  return {
    name,
    folder,
    pod: read('pod.yaml') as JsonObject,
    settings: { ...SETTINGS, ...(read('settings.yaml') as Partial<InjectSettings> | undefined) },
    expected: loadExpected(folder),
    apiServerRejects: facts.apiServerRejects === true,
    modes: facts.modes ?? [],
    why: facts.why,
  };
}

function loadExpected(folder: string): Expected | undefined {
  const read = <T>(file: string): T | undefined =>
    existsSync(path.join(folder, file))
      ? (JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as T)
      : undefined;
  const denials = read<readonly Denial[]>('denial.json');
  if (denials) return { denials };
  const operations = read<readonly PatchOperation[]>('patch.json');
  return operations && { operations, warnings: read<readonly string[]>('warnings.json') ?? [] };
}

/** Rewrites what must come out. Whoever runs this reads the difference; CI forbids it. */
export function saveExpected({ folder }: GoldenCase, expected: Expected): void {
  const write = (file: string, value: unknown): void => {
    const target = path.join(folder, file);
    if (value === undefined) rmSync(target, { force: true });
    else writeFileSync(target, `${JSON.stringify(value, null, 2)}\n`);
  };
  const denials = 'denials' in expected ? expected.denials : undefined;
  const patched = 'operations' in expected ? expected : undefined;
  write('denial.json', denials);
  write('patch.json', patched?.operations);
  write('warnings.json', patched && patched.warnings.length > 0 ? patched.warnings : undefined);
}
