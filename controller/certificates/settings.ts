// The settings of what the controller keeps in the one Secret: certificates, and the broker's first key.
import { isIP } from 'node:net';
import { integer, list, oneOf, optional, path, text } from '../../common/settings.ts';
import { KEY_KINDS } from './generated-keys.ts';
import type { Policy } from './plan.ts';

const DAY_SECONDS = 86_400;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const allowed = 'lower-case letters, digits, dashes and dots';
const LABEL = /^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;
// No zone, which certificates cannot have, and IPv6 in groups alone, as the chart takes it.
const ADDRESS = /^[0-9.]+$|^[0-9A-Fa-f:]+$/;

const names = (whose: string) =>
  list({
    doc: `Names in the serving certificate of ${whose}; none: it gets no certificate from us`,
    default: [],
    defaultText: 'none',
    isItem: isHost,
    allowed: 'a DNS name or an address',
  });

export const CERTIFICATE_SETTINGS = {
  certificatesSecret: optional(
    text({
      doc: 'Secret that certificates and generated keys are kept in; unset: nothing is kept',
      pattern: NAME,
      allowed,
    }),
  ),
  webhookNames: names('the webhook'),
  brokerNames: names('the broker'),
  webhookConfiguration: optional(
    text({
      doc: 'MutatingWebhookConfiguration whose caBundle is ours to state; unset: none',
      pattern: NAME,
      allowed,
    }),
  ),
  certificatesCaFile: optional(
    path({
      doc: 'File that the authorities are written to, for our own requests to the broker (brokerCaFile)',
    }),
  ),
  caLifetimeSeconds: integer({
    doc: 'Life of an authority; the next one is made at two thirds of it',
    default: 3650 * DAY_SECONDS,
    min: 600,
    max: 7300 * DAY_SECONDS,
  }),
  leafLifetimeSeconds: integer({
    doc: 'Life of a serving certificate; it is renewed at 60 to 67 % of it',
    default: 90 * DAY_SECONDS,
    min: 60,
    max: 825 * DAY_SECONDS,
  }),
  caPublishSeconds: integer({
    doc: 'So long a new authority is published before it signs: webhook, broker and pods learn of it meanwhile',
    default: DAY_SECONDS,
    min: 5,
    max: 90 * DAY_SECONDS,
  }),
  generateKey: oneOf({
    doc: "The broker's first key, made where the Secret has none: encryption seals the signing keys in a store, signing signs where there is no store",
    values: KEY_KINDS,
    default: 'none',
  }),
} as const;

/** What ends in a number is an address or nothing (RFC 3696 §2): verifiers would not take it for a name. */
function isHost(name: string): boolean {
  if (ADDRESS.test(name) && isIP(name) !== 0) return true;
  const labels = name.split('.');
  const isNumber = /^\d+$/.test(labels.at(-1) ?? '');
  return name.length <= 253 && !isNumber && labels.every((label) => LABEL.test(label));
}

interface Given {
  readonly certificatesSecret?: string | undefined;
  readonly webhookNames?: readonly string[];
  readonly brokerNames?: readonly string[];
  readonly webhookConfiguration?: string | undefined;
  readonly generateKey?: string;
  readonly caLifetimeSeconds?: number;
  readonly leafLifetimeSeconds?: number;
  readonly caPublishSeconds?: number;
}

/** What no single setting can know is wrong. */
export function findCertificateConflicts(given: Given): readonly string[] {
  const { certificatesSecret, webhookNames = [], brokerNames = [], generateKey = 'none' } = given;
  const { caLifetimeSeconds: ca, leafLifetimeSeconds: leaf, caPublishSeconds: publish } = given;
  const isWanted = webhookNames.length + brokerNames.length > 0 || generateKey !== 'none';
  const hasTimes = ca !== undefined && leaf !== undefined && publish !== undefined;
  return [
    ...(isWanted && certificatesSecret === undefined
      ? ['COATCHECK_CERTIFICATES_SECRET must be set where certificates or keys are kept']
      : []),
    ...(given.webhookConfiguration !== undefined && webhookNames.length === 0
      ? ['COATCHECK_WEBHOOK_NAMES must be set where COATCHECK_WEBHOOK_CONFIGURATION is']
      : []),
    // One rotation ends before the next one begins.
    ...(hasTimes && ca < 4 * (leaf + publish)
      ? [
          'COATCHECK_CA_LIFETIME_SECONDS must be at least four times COATCHECK_LEAF_LIFETIME_SECONDS and COATCHECK_CA_PUBLISH_SECONDS together',
        ]
      : []),
  ];
}

/** @param name of the authorities, for people who read a certificate */
export function toPolicy(
  settings: Required<
    Pick<
      Given,
      | 'webhookNames'
      | 'brokerNames'
      | 'caLifetimeSeconds'
      | 'leafLifetimeSeconds'
      | 'caPublishSeconds'
    >
  >,
  name: string,
): Policy {
  const { webhookNames, brokerNames } = settings;
  const wishes = [
    { part: 'webhook' as const, names: webhookNames },
    { part: 'broker' as const, names: brokerNames },
  ];
  return {
    name,
    leaves: wishes.filter((wish) => wish.names.length > 0),
    caLifetimeMs: settings.caLifetimeSeconds * 1000,
    leafLifetimeMs: settings.leafLifetimeSeconds * 1000,
    publishMs: settings.caPublishSeconds * 1000,
  };
}
