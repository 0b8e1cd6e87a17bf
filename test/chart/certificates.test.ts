// Where certificates come from: what each mode renders, mounts and tells the controller.
import { expect } from 'chai';
import { readControllerSettings } from '../../controller/settings.ts';
import {
  type Rendered,
  renderChart,
  templateChart,
  toContainer,
  toEnvironment,
  toTemplate,
} from './helm.ts';

const volumesOf = (rendered: Rendered, part: string) =>
  Object.fromEntries(
    toTemplate(rendered.get('Deployment', `coatcheck-${part}`)).spec.volumes.map(
      ({ name, ...source }) => [name, source],
    ),
  );
const itemsOf = (secretName: string, items: Readonly<Record<string, string>>) => ({
  secret: { secretName, items: Object.entries(items).map(([key, path]) => ({ key, path })) },
});
const settingsOf = (rendered: Rendered) =>
  readControllerSettings({
    environment: toEnvironment(toContainer(rendered.get('Deployment', 'coatcheck-controller'))),
  });

describe('certificates from the chart', () => {
  describe('kept by the controller, as usual', () => {
    const rendered = renderChart({});

    it('are in a Secret that is rendered without any data, and stays when the release goes', () => {
      const secret = rendered.get('Secret', 'coatcheck-certificates');
      expect(secret).to.not.have.any.keys('data', 'stringData', 'immutable');
      expect(secret.metadata.annotations).to.eql({ 'helm.sh/resource-policy': 'keep' });
      const [webhook] = rendered.get('MutatingWebhookConfiguration', 'coatcheck-webhook')
        .webhooks as { clientConfig: object }[];
      expect(webhook?.clientConfig).to.not.have.property('caBundle');
    });

    it('reach each pod by its own keys alone', () => {
      const ca = itemsOf('coatcheck-certificates', { 'ca.crt': 'ca.crt' });
      expect(volumesOf(rendered, 'webhook')).to.eql({
        tls: itemsOf('coatcheck-certificates', {
          'webhook.crt': 'tls.crt',
          'webhook.key': 'tls.key',
        }),
        ca,
      });
      expect(volumesOf(rendered, 'broker')).to.deep.include({
        tls: itemsOf('coatcheck-certificates', {
          'broker.crt': 'tls.crt',
          'broker.key': 'tls.key',
        }),
        ca,
        'key-encryption-keys': itemsOf('coatcheck-certificates', {
          'encryption-key': '0-generated',
        }),
      });
      expect(volumesOf(rendered, 'controller').ca).to.have.property('emptyDir');
    });

    it('have the names that pods, API servers and people use', () => {
      const { webhookNames, brokerNames } = settingsOf(
        renderChart({
          broker: { issuer: 'https://tokens.example.org:8443', adminListen: { port: 8444 } },
          certificates: {
            clusterDomain: 'lab.local',
            extraBrokerNames: ['10.0.0.7', 'tokens.lab'],
          },
        }),
      );
      expect(webhookNames).to.eql([
        'coatcheck-webhook.auth.svc',
        'coatcheck-webhook.auth.svc.lab.local',
      ]);
      expect(brokerNames).to.eql([
        'coatcheck-broker.auth.svc',
        'coatcheck-broker.auth.svc.lab.local',
        'coatcheck-broker.auth',
        'coatcheck-broker',
        'coatcheck-admin.auth.svc',
        'coatcheck-admin.auth.svc.lab.local',
        'coatcheck-admin.auth',
        'coatcheck-admin',
        'tokens.example.org',
        '10.0.0.7',
        'tokens.lab',
      ]);
    });

    it('have the times of the values', () => {
      const times = { caLifetimeSeconds: 8000, leafLifetimeSeconds: 600, caPublishSeconds: 60 };
      expect(settingsOf(renderChart({ certificates: times }))).to.include({
        ...times,
        certificatesSecret: 'coatcheck-certificates',
        webhookConfiguration: 'coatcheck-webhook',
        brokerCaFile: '/etc/coatcheck/ca/ca.crt',
        certificatesCaFile: '/etc/coatcheck/ca/ca.crt',
        generateKey: 'encryption',
      });
    });

    it('come with a key that signs where there is no store, and with none where one is brought', () => {
      const none = renderChart({ broker: { store: { type: 'none' } } });
      expect(settingsOf(none).generateKey).to.equal('signing');
      expect(volumesOf(none, 'broker')['signing-keys']).to.eql(
        itemsOf('coatcheck-certificates', { 'signing-key.pem': '0-generated.pem' }),
      );
      for (const name of ['keyEncryption', 'signingKeys']) {
        const brought = renderChart({ broker: { [name]: { secretName: 'mine' } } });
        expect(settingsOf(brought).generateKey).to.equal('none');
        expect(JSON.stringify(volumesOf(brought, 'broker'))).to.include('"secretName":"mine"');
      }
    });

    it('are the webhook’s alone where the broker is elsewhere', () => {
      const remote = renderChart({
        broker: { enabled: false },
        brokerUrl: 'https://tokens.example.org',
      });
      const settings = settingsOf(remote);
      expect(settings.brokerNames).to.eql([]);
      expect(settings.webhookNames).to.have.length(2);
      expect(settings).to.include({ generateKey: 'none', certificatesCaFile: undefined });
      expect(volumesOf(remote, 'webhook')).to.have.all.keys('tls');
    });
  });

  describe('of cert-manager', () => {
    const rendered = renderChart({ certificates: { mode: 'cert-manager' } });

    it('are two Certificates of an authority of their own, put into the registration by its injector', () => {
      const certificates = rendered.ofKind('Certificate').map(({ metadata }) => metadata.name);
      expect(certificates).to.have.members([
        'coatcheck-ca',
        'coatcheck-webhook-tls',
        'coatcheck-broker-tls',
      ]);
      expect(rendered.get('Certificate', 'coatcheck-broker-tls').spec).to.deep.include({
        secretName: 'coatcheck-broker-tls',
        duration: '2160h',
        renewBefore: '720h',
        issuerRef: { name: 'coatcheck-ca', kind: 'Issuer', group: 'cert-manager.io' },
      });
      expect(
        rendered.get('MutatingWebhookConfiguration', 'coatcheck-webhook').metadata.annotations,
      ).to.eql({ 'cert-manager.io/inject-ca-from': 'auth/coatcheck-webhook-tls' });
    });

    it('reach webhook and broker, and the authority reaches all three', () => {
      expect(volumesOf(rendered, 'webhook')).to.eql({
        tls: itemsOf('coatcheck-webhook-tls', { 'tls.crt': 'tls.crt', 'tls.key': 'tls.key' }),
        ca: itemsOf('coatcheck-broker-tls', { 'ca.crt': 'ca.crt' }),
      });
      expect(volumesOf(rendered, 'controller').ca).to.eql(
        itemsOf('coatcheck-broker-tls', { 'ca.crt': 'ca.crt' }),
      );
    });

    it('leave to the controller the broker’s first key, and nothing else', () => {
      expect(settingsOf(rendered)).to.deep.include({
        certificatesSecret: 'coatcheck-certificates',
        webhookNames: [],
        brokerNames: [],
        webhookConfiguration: undefined,
        generateKey: 'encryption',
      });
    });

    it('are of an issuer of one’s own where one is named', () => {
      const issuerRef = { name: 'platform', kind: 'ClusterIssuer' };
      const own = renderChart({
        certificates: { mode: 'cert-manager', certManager: { issuerRef } },
      });
      expect(own.ofKind('Issuer')).to.eql([]);
      expect(
        own.ofKind('Certificate').map((one) => (one.spec as { issuerRef: object }).issuerRef),
      ).to.eql([
        { ...issuerRef, group: 'cert-manager.io' },
        { ...issuerRef, group: 'cert-manager.io' },
      ]);
    });
  });

  describe('of one’s own', () => {
    it('are Secrets that the chart neither renders nor has anything write', () => {
      const rendered = renderChart({ certificates: { mode: 'provided' } });
      expect(rendered.ofKind('Secret')).to.eql([]);
      expect(rendered.ofKind('Certificate')).to.eql([]);
      expect(settingsOf(rendered)).to.include({
        certificatesSecret: undefined,
        generateKey: 'none',
      });
      expect(JSON.stringify(volumesOf(rendered, 'broker'))).to.include(
        '"secretName":"coatcheck-signing-keys"',
      );
    });
  });

  for (const [what, values, says] of [
    ['no controller', { controller: { enabled: false } }, 'certificates.mode: controller needs'],
    [
      'a Secret of one’s own',
      { broker: { tls: { secretName: 'mine' } } },
      'broker.tls.secretName: is for',
    ],
    [
      'an authority that lives too short',
      { certificates: { caLifetimeSeconds: 31_000_000 } },
      'certificates.caLifetimeSeconds: must be at least four times',
    ],
    [
      'an authority of cert-manager that lives too short',
      { certificates: { mode: 'cert-manager', caLifetimeSeconds: 31_000_000 } },
      'certificates.caLifetimeSeconds: must be at least four times',
    ],
    [
      'less than cert-manager can count',
      { certificates: { mode: 'cert-manager', leafLifetimeSeconds: 10_799 } },
      'certificates.leafLifetimeSeconds: cert-manager counts hours',
    ],
    ['an unknown mode', { certificates: { mode: 'none' } }, '/certificates/mode'],
  ] as const) {
    it(`are refused with ${what}`, () => {
      const { code, stderr } = templateChart(values);
      expect(code).to.not.equal(0);
      expect(stderr).to.include(says);
    });
  }
});
