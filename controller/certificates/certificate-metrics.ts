// Metrics of the certificates that this controller keeps. Only the replica that acts knows them; the others show none.
import { Counter, Gauge, type Registry } from 'prom-client';

export interface CertificateMetrics {
  /** Certificate to the end of its validity, milliseconds since the epoch. */
  setEnds(ends: Readonly<Record<string, number>>): void;
  /** `ca`, `webhook` or `broker`. */
  countRenewal(certificate: string): void;
  countFailure(step: (typeof STEPS)[number]): void;
  /** Whether the API server has the bundle in this MutatingWebhookConfiguration. */
  setInjected(configuration: string, isInjected: boolean): void;
  /** This replica does not act any more. */
  forget(): void;
}

/** Reading and writing the Secret, stating the API server's bundle, the authority's own loss, and a clock not to go by. */
export const STEPS = ['read', 'write', 'inject', 'lost', 'clock'] as const;
const CERTIFICATES = ['ca', 'webhook', 'broker'] as const;

export function createCertificateMetrics(registry: Registry): CertificateMetrics {
  const registers = [registry];
  const ends = new Gauge({
    name: 'coatcheck_controller_certificate_not_after_timestamp_seconds',
    help: 'End of the validity of each certificate in the Secret, seconds since the epoch; ca-next while an authority waits to sign',
    labelNames: ['certificate'],
    registers,
  });
  const renewals = new Counter({
    name: 'coatcheck_controller_certificate_renewals_total',
    help: 'Certificates that were signed, and authorities (ca) that began to sign',
    labelNames: ['certificate'],
    registers,
  });
  const failures = new Counter({
    name: 'coatcheck_controller_certificate_failures_total',
    help: "What went wrong with certificates: reading or writing their Secret, telling the API server (inject), an authority or its key that was lost, a clock that differs from the API server's",
    labelNames: ['step'],
    registers,
  });
  const injected = new Gauge({
    name: 'coatcheck_controller_ca_bundle_injected',
    help: '1 where the API server has the bundle of the Secret in this MutatingWebhookConfiguration; 0 where it could not be told',
    labelNames: ['configuration'],
    registers,
  });
  for (const certificate of CERTIFICATES) renewals.inc({ certificate }, 0);
  for (const step of STEPS) failures.inc({ step }, 0);
  return {
    setEnds: (known) => {
      ends.reset();
      for (const [certificate, end] of Object.entries(known)) ends.set({ certificate }, end / 1000);
    },
    countRenewal: (certificate) => renewals.inc({ certificate }),
    countFailure: (step) => failures.inc({ step }),
    setInjected: (configuration, isInjected) => {
      injected.set({ configuration }, Number(isInjected));
    },
    forget: () => {
      ends.reset();
      injected.reset();
    },
  };
}
