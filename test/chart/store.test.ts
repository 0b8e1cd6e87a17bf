// The store of the broker in the chart: what each kind mounts, how it is replaced, who may be reached.
import { expect } from 'chai';
import {
  type Manifest,
  type Rendered,
  renderChart,
  templateChart,
  toContainer,
  toTemplate,
} from './helm.ts';

const POSTGRES = { type: 'postgres', postgres: { secretName: 'db' } };
const toValues = (store: object, more: object = {}) => ({ broker: { store, ...more } });
const broker = (rendered: Rendered) => rendered.get('Deployment', 'coatcheck-broker');
const strategyOf = (deployment: Manifest) => (deployment.spec as { strategy: object }).strategy;
const volumeOf = (rendered: Rendered, name = 'store') =>
  toTemplate(broker(rendered)).spec.volumes.find((volume) => volume.name === name);
const variablesOf = (rendered: Rendered) =>
  Object.fromEntries(toContainer(broker(rendered)).env.map(({ name, value }) => [name, value]));

describe('the store from the chart', () => {
  it('is by default one sqlite file on a volume that outlives the release', () => {
    const rendered = renderChart({});
    expect(volumeOf(rendered)).to.deep.equal({
      name: 'store',
      persistentVolumeClaim: { claimName: 'coatcheck-store' },
    });
    expect(variablesOf(rendered)).to.include({
      COATCHECK_STORE: 'sqlite:/var/lib/coatcheck/store.db',
      COATCHECK_KEY_ENCRYPTION_KEYS_DIR: '/etc/coatcheck/key-encryption-keys',
    });
    const claim = rendered.get('PersistentVolumeClaim', 'coatcheck-store');
    expect(claim.metadata.annotations).to.deep.equal({ 'helm.sh/resource-policy': 'keep' });
    expect(claim.spec).to.deep.equal({
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    });
    expect(strategyOf(broker(rendered))).to.deep.equal({ type: 'Recreate' });
    expect(toTemplate(broker(rendered)).spec.securityContext).to.include({ fsGroup: 65_532 });
  });
  it('is on a claim, of a class, or of a size that somebody names', () => {
    const claimed = renderChart(toValues({ persistence: { existingClaim: 'mine' } }));
    expect(volumeOf(claimed)).to.deep.include({ persistentVolumeClaim: { claimName: 'mine' } });
    expect(claimed.ofKind('PersistentVolumeClaim')).to.deep.equal([]);
    const classed = renderChart(toValues({ persistence: { storageClass: 'ssd', size: '5Gi' } }));
    expect(classed.get('PersistentVolumeClaim', 'coatcheck-store').spec).to.deep.include({
      storageClassName: 'ssd',
      resources: { requests: { storage: '5Gi' } },
    });
  });
  it('leaves the group of the volume to the platform, or to whoever sets another', () => {
    const contextOf = (values: object) =>
      toTemplate(broker(renderChart(values))).spec.securityContext;
    expect(contextOf(toValues({ persistence: { fsGroup: 0 } }))).to.not.have.property('fsGroup');
    const own = toValues({}, { podSecurityContext: { fsGroup: 7 } });
    expect(contextOf(own)).to.include({ fsGroup: 7 });
    expect(contextOf(toValues({ type: 'none' }))).to.not.have.property('fsGroup');
  });
  it('is in the pod for a try', () => {
    const values = toValues({ persistence: { enabled: false } });
    expect(volumeOf(renderChart(values))).to.deep.equal({ name: 'store', emptyDir: {} });
  });
  it('is PostgreSQL by the URL in a Secret, which no variable shows', () => {
    const rendered = renderChart(toValues(POSTGRES, { replicas: 3 }));
    expect(volumeOf(rendered)).to.deep.equal({
      name: 'store',
      secret: { secretName: 'db', items: [{ key: 'url', path: 'url' }] },
    });
    expect(variablesOf(rendered)).to.include({ COATCHECK_STORE_FILE: '/etc/coatcheck/store/url' });
    expect(variablesOf(rendered)).to.not.have.property('COATCHECK_STORE');
    expect(strategyOf(broker(rendered))).to.include({ type: 'RollingUpdate' });
    expect(rendered.ofKind('PersistentVolumeClaim')).to.deep.equal([]);
    expect(rendered.ofKind('PodDisruptionBudget').map(({ metadata }) => metadata.name)).to.include(
      'coatcheck-broker',
    );
  });
  it('may be reached by the broker where it is a database, and by nobody else', () => {
    const portsOf = (values: object) => {
      const policy = renderChart(values).get('NetworkPolicy', 'coatcheck-broker');
      return JSON.stringify((policy.spec as { egress: unknown }).egress);
    };
    expect(portsOf(toValues(POSTGRES))).to.include('"port":5432');
    expect(portsOf({})).to.not.include('"port":5432');
  });
  it('is none where nothing is kept', () => {
    const rendered = renderChart(toValues({ type: 'none' }, { replicas: 2 }));
    expect(volumeOf(rendered)).to.equal(undefined);
    expect(Object.keys(variablesOf(rendered)).join()).to.not.match(/STORE|DECISIONS/);
    expect(rendered.ofKind('PersistentVolumeClaim')).to.deep.equal([]);
  });
  it('keeps the signing keys where there are keys to seal them by', () => {
    const rendered = renderChart(toValues({}, { keyEncryption: { secretName: 'seal' } }));
    expect(volumeOf(rendered, 'signing-keys')).to.equal(undefined);
    expect(volumeOf(rendered, 'key-encryption-keys')).to.deep.include({
      secret: { secretName: 'seal' },
    });
    expect(variablesOf(rendered)).to.include({
      COATCHECK_KEY_ENCRYPTION_KEYS_DIR: '/etc/coatcheck/key-encryption-keys',
    });
    expect(variablesOf(rendered)).to.not.have.property('COATCHECK_SIGNING_KEYS_DIR');
  });
  it('takes the first administrator from a Secret', () => {
    const rendered = renderChart(toValues({}, { bootstrapToken: { secretName: 'first' } }));
    expect(volumeOf(rendered, 'bootstrap')).to.deep.include({
      secret: { secretName: 'first' },
    });
    expect(variablesOf(rendered)).to.include({
      COATCHECK_BOOTSTRAP_TOKEN_FILE: '/etc/coatcheck/bootstrap/token',
    });
  });
  it('refuses what cannot work before anything is installed', () => {
    const { code, stderr } = templateChart(toValues({}, { replicas: 2 }));
    expect([code === 0, stderr.includes('broker.store.type')]).to.deep.equal([false, true]);
  });
});
