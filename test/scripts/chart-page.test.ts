// The chart's table of values: what is explained where, and what is refused for want of an explanation.
import { expect } from 'chai';
import { listChartValues } from '../../scripts/chart-page.ts';

const SCHEMA = {
  definitions: { port: { type: 'integer', minimum: 1, maximum: 65_535 } },
  properties: {
    name: { type: 'string' },
    webhook: {
      properties: {
        port: { $ref: '#/definitions/port' },
        resources: { type: 'object' },
        budget: { properties: { enabled: { type: 'boolean' } } },
      },
    },
    broker: { properties: { port: { $ref: '#/definitions/port' } } },
  },
};

describe('the table of values in the chart’s README', () => {
  it('has each value with its default, what is allowed, and its comment', () => {
    const text = '# About the file.\n\n# Of the release,\n# or so:\n#   name: x\nname: ""\n';
    expect(listChartValues(text, SCHEMA)).to.deep.equal([
      { place: 'name', default: '', allowed: 'string', meaning: 'Of the release, or so.' },
    ]);
  });

  it('looks into objects that the schema knows by member, and not into those of Kubernetes', () => {
    const text = 'webhook:\n  # One.\n  port: 1\n  # Two.\n  resources: { limits: { cpu: 1 } }\n';
    expect(listChartValues(text, SCHEMA).map(({ place, allowed }) => [place, allowed])).to.eql([
      ['webhook.port', 'integer, 1 to 65535'],
      ['webhook.resources', 'object'],
    ]);
  });

  it('takes the words of a namesake, and for `enabled` those of the whole', () => {
    const text =
      'webhook:\n  # One.\n  port: 1\n  # A budget.\n  budget: { enabled: true }\nbroker: { port: 2 }\n';
    expect(listChartValues(text, SCHEMA).map(({ meaning }) => meaning)).to.deep.equal([
      'One.',
      'A budget.',
      'One.',
    ]);
  });

  for (const [what, text, says] of [
    ['a value nobody explains', 'name: ""\n', 'name has no comment in values.yaml'],
    ['a value without a schema', '# X.\nnome: ""\n', 'nome is not in values.schema.json'],
    ['a value whose namesake is not explained either', 'broker: { port: 1 }\n', 'broker.port has'],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => listChartValues(text, SCHEMA)).to.throw(says);
    });
  }
});
