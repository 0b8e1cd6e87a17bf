// The benchmark's own parts: references that stay small, a load that reads answers right, statistics, the table.
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import { findStatus, openConnection } from '../../bench/load/connection.ts';
import { summarize, toSpread } from '../../bench/load/latencies.ts';
import { renderReviews } from '../../bench/review.ts';
import { renderMarkdown } from '../../bench/table.ts';

const BENCH = path.join(import.meta.dirname, '../../bench');

describe('the references of the benchmark', () => {
  const files = readdirSync(path.join(BENCH, 'references'));

  it('are two', () => {
    expect(files.sort()).to.deep.equal(['http-exchange.ts', 'https-json.ts']);
  });

  for (const file of files) {
    const text = readFileSync(path.join(BENCH, 'references', file), 'utf8');

    it(`${file} has at most 60 lines`, () => {
      expect(text.trimEnd().split('\n')).to.have.length.at.most(60);
    });

    it(`${file} imports nothing but node:`, () => {
      const targets = [...text.matchAll(/ from '([^']+)'/g)].map(([, target]) => target);
      expect(targets).to.have.length.greaterThan(0);
      expect(targets.filter((target) => !target?.startsWith('node:'))).to.deep.equal([]);
    });
  }
});

describe('the load of the benchmark', () => {
  const answers = [
    {
      name: 'waits for the rest of the head',
      text: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n',
      status: undefined,
    },
    {
      name: 'waits for the rest of the body',
      text: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{',
      status: undefined,
    },
    {
      name: 'reads the status of a whole answer',
      text: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}',
      status: 200,
    },
    {
      name: 'knows no case in names',
      text: 'HTTP/1.1 400 Bad Request\r\ncontent-length:2\r\n\r\n{}',
      status: 400,
    },
    {
      name: 'waits for the last chunk',
      text: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n',
      status: undefined,
    },
    {
      name: 'reads the status after the last chunk',
      text: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
      status: 200,
    },
  ];
  for (const { name, text, status } of answers) {
    it(name, () => {
      expect(findStatus(text)).to.equal(status);
    });
  }

  it('sends one request after the other over one connection', async () => {
    let connections = 0;
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => {
        bodies.push(body);
        response.writeHead(body === 'bad' ? 400 : 200).end('x'.repeat(100_000));
      });
    });
    server.on('connection', () => connections++);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const connection = await openConnection({ host: '127.0.0.1', port });
    try {
      const send = (body: string) =>
        connection.send(
          Buffer.from(
            `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
          ),
        );
      expect([await send('one'), await send('bad'), await send('two')]).to.deep.equal([
        200, 400, 200,
      ]);
      expect(bodies).to.deep.equal(['one', 'bad', 'two']);
      expect(connections).to.equal(1);
    } finally {
      connection.close();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('fails where the server hangs up, so that no round ends early unseen', async () => {
    const server = createServer((request) => request.socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const connection = await openConnection({ host: '127.0.0.1', port });
    const failure = await connection.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')).then(
      () => undefined,
      (error: Error) => error.message,
    );
    await new Promise((resolve) => server.close(resolve));
    expect(failure).to.be.a('string');
  });
});

describe('the statistics of the benchmark', () => {
  it('take percentiles by nearest rank', () => {
    const times = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(summarize(times)).to.deep.equal({ p50: 50, p99: 99, max: 100 });
  });

  it('take the middle of the middle two', () => {
    expect(toSpread([4, 1, 3, 2])).to.deep.equal({ median: 2.5, min: 1, max: 4 });
    expect(toSpread([10, 9, 100])).to.deep.equal({ median: 10, min: 9, max: 100 });
  });
});

describe('the table of the benchmark', () => {
  const machine = { cores: 2, processor: 'CPU', memoryGiB: 4, node: 'v24.0.0', isPinned: true };
  const spread = { median: 1234.5, min: 1000, max: 2000 };

  it('says what was met and what was missed', () => {
    const text = renderMarkdown({
      machine,
      isQuick: false,
      measuredAt: '2026-11-22T10:00:00.000Z',
      rows: [
        {
          line: 'a',
          unit: 'x/s',
          ours: spread,
          reference: spread,
          ratio: 0.615,
          target: '≥ 60 %',
          isMet: true,
        },
        {
          line: 'b',
          unit: 'ms',
          ours: { median: 1.234, min: 1, max: 12.34 },
          target: '≤ 1 ms',
          isMet: false,
        },
        { line: 'c', unit: 'ms', ours: spread },
      ],
    });
    const plain = toPlain(text);
    expect(plain).to.contain(
      '| a | x/s | 1,235 (1,000–2,000) | 1,235 (1,000–2,000) | 62 % | ≥ 60 % (met) |',
    );
    expect(plain).to.contain('| b | ms | 1.23 (1.00–12.3) | | | ≤ 1 ms (**missed**) |');
    expect(plain).to.contain('| c | ms | 1,235 (1,000–2,000) | | | |');
    expect(plain).not.to.contain('Quick run');
    const widths = text.split('\n').filter((line) => line.startsWith('|'));
    expect(new Set(widths.map((line) => line.length)).size).to.equal(1);
  });

  for (const { loadBefore, isTold } of [
    { loadBefore: 0.2, isTold: false },
    { loadBefore: 3.1, isTold: true },
  ]) {
    it(`${isTold ? 'says' : 'does not say'} that the machine was busy at load ${loadBefore}`, () => {
      const results = { machine: { ...machine, loadBefore }, isQuick: false, rows: [] };
      const text = renderMarkdown({ ...results, measuredAt: '2026-11-22T10:00:00.000Z' });
      expect(text.includes('The machine was busy')).to.equal(isTold);
    });
  }

  it('of the last whole run is committed in both forms', () => {
    const results = JSON.parse(readFileSync(path.join(BENCH, 'results/latest.json'), 'utf8'));
    expect(renderMarkdown(results)).to.equal(
      readFileSync(path.join(BENCH, 'results/latest.md'), 'utf8'),
    );
    expect(results.isQuick).to.equal(false);
  });

  it('is quoted in the documentation as it was measured', () => {
    const table = readFileSync(path.join(BENCH, 'results/latest.md'), 'utf8').trim();
    const page = readFileSync(path.join(BENCH, '../docs/performance.md'), 'utf8');
    expect(toPlain(page)).to.contain(toPlain(table));
  });

  /** Without the padding of columns, which belongs to the formatter. */
  function toPlain(text: string): string {
    return text.replace(/ +/g, ' ').replace(/-{3,}/g, '---');
  }
});

describe('the reviews of the benchmark', () => {
  const reviews = renderReviews();

  it('are realistic ones, of 4 to 8 kB, and all of one length', () => {
    expect(reviews[0]?.length).to.be.within(4_000, 8_000);
    expect(new Set(reviews.map(({ length }) => length)).size).to.equal(1);
  });

  it('are of 64 different pods, each with its own name, uid and volume for the API’s token', () => {
    const facts = reviews.map((text) => {
      const { request } = JSON.parse(text) as {
        request: { uid: string; name: string; object: { spec: { volumes: { name: string }[] } } };
      };
      return [request.uid, request.name, request.object.spec.volumes.at(-1)?.name];
    });
    for (const column of [0, 1, 2])
      expect(new Set(facts.map((row) => row[column])).size).to.equal(64);
  });
});
