// The authorities that the API server, and the pods, believe: still valid, and the same. All of it is public; no Secret is
// read.
import { X509Certificate } from 'node:crypto';
import type { Finding, InstalledContext } from '../check.ts';
import { findVolume } from '../installation.ts';
import { findWebhook } from './registration.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const SOON_MS = 3 * DAY_MS;

export async function checkAuthorities(context: InstalledContext): Promise<readonly Finding[]> {
  const { kube, installation, clock } = context;
  const own = await findWebhook(context);
  const bundle = Buffer.from(own?.webhook.clientConfig.caBundle ?? '', 'base64').toString('utf8');
  if (bundle === '') return [];
  const registered = parseBundle(bundle);
  if (registered.length === 0)
    return [
      {
        state: 'problem',
        about: 'caBundle',
        seen: 'it holds no certificate that can be read',
        means: 'the API server cannot verify the webhook: annotated pods are refused',
        mend: 'docs/operations.md#certificates',
      },
    ];
  const findings = describeAuthorities(registered, 'caBundle', clock.now());
  const name = findVolume(installation.parts.webhook, 'ca')?.configMap?.name;
  if (name === undefined) return findings;
  const configMap = await kube.get<{ data?: Readonly<Record<string, string>> }>(
    { resource: 'configmaps', namespace: installation.namespace },
    name,
  );
  const told = parseBundle(configMap?.data?.['ca.crt'] ?? '');
  const toPrints = (all: readonly X509Certificate[]) => all.map((one) => one.fingerprint256);
  if (toPrints(told).every((print) => !toPrints(registered).includes(print)))
    return [
      ...findings,
      {
        state: 'warning',
        about: name,
        seen: 'the authorities that pods are given and those of the registration have none in common',
        means: 'right where webhook and broker have different authorities, and a mistake otherwise',
        mend: `kubectl -n ${installation.namespace} get configmap ${name} -o yaml`,
      },
    ];
  return findings;
}

function describeAuthorities(
  certificates: readonly X509Certificate[],
  about: string,
  now: number,
): readonly Finding[] {
  const valid = certificates.filter(
    ({ validFromDate, validToDate }) =>
      validFromDate.getTime() <= now && now < validToDate.getTime(),
  );
  const last = Math.max(...certificates.map(({ validToDate }) => validToDate.getTime()));
  const ends = new Date(last).toISOString().slice(0, 10);
  const renew = 'docs/operations.md#certificates';
  if (valid.length === 0)
    return [
      {
        state: 'problem',
        about,
        seen: `none of its ${certificates.length} authorities is valid now; the last ended on ${ends}`,
        means: 'the API server cannot verify the webhook: annotated pods are refused',
        mend: renew,
      },
    ];
  if (!valid.some(({ ca }) => ca))
    return [
      { state: 'warning', about, seen: 'no certificate in it is one of an authority', mend: renew },
    ];
  if (last - now < SOON_MS)
    return [
      {
        state: 'warning',
        about,
        seen: `its last authority ends on ${ends}`,
        means: 'then nothing is injected',
        mend: renew,
      },
    ];
  return [
    {
      state: 'ok',
      about,
      seen: `${certificates.length} ${certificates.length === 1 ? 'authority' : 'authorities'}, until ${ends}`,
    },
  ];
}

function parseBundle(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}
