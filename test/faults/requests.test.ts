// Requests as attackers and broken clients send them, with their expected responses. Those are written by hand
// (requests.txt), or follow from the rules of RFC 9110 for every combination of conditional headers (rfc9110.ts). They are
// never recorded from the code.
import assert from 'node:assert/strict';
import test, { type ExecutionContext } from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { LARGE, storedTag } from '../helpers/echo-store.js';
import { until } from '../helpers/poll.js';
import { KINDS, type RunningServer } from '../helpers/servers.js';
import { ARTIFACT, type Combination, everyCombination } from './combinations.js';
import { type CorpusRequest, readCorpus } from './corpus.js';
import { expectedResponse, type TestResponse } from './expected-response.js';
import { sendHttp1, sendHttp2 } from './send.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Paths and headers', ['requests', 'count']);
const MAX_UPLOAD_BYTES = 1000;
const CONCURRENCY = 20;

const teardowns: (() => unknown)[] = [];
test.after.always(() => teardowns.map((teardown) => teardown()));
let child: ChildServer;
/** The server as HTTP/1.1 clients and as HTTP/2 clients reach it. */
let clients: readonly RunningServer[];

test.serial.before('start a server in a child process', async () => {
  const t = { teardown: (teardown: () => unknown): void => void teardowns.push(teardown) };
  const options = { kind: 'port-http', directory: '/nowhere', echo: true, maxUploadBytes: MAX_UPLOAD_BYTES } as const;
  child = await ChildServer.start(t, options);
  clients = [child.server, { ...child.server, ...KINDS['port-h2c'], kind: 'port-h2c' }];
});

const corpus = readCorpus();
for (const [heading, requests] of corpus) {
  fault([heading, String(requests.length)], (t) => sendAll(t, requests), 'python3-h2');
}

/** Asserts the response to each request, and returns the number of responses by status. */
async function sendAll(t: ExecutionContext, requests: readonly CorpusRequest[]): Promise<string> {
  const byHttp1 = requests.flatMap((each) => each.http1 ?? []);
  const byHttp2 = requests.flatMap((each) => each.http2 ?? []);
  const found1 = await inBatches(byHttp1, (each) =>
    sendHttp1(child.server.port, each, each.expected.endsWith(' later')),
  );
  const found2 = await sendHttp2(t, child.server.port, byHttp2);
  const mismatches: object[] = [];
  const check = (line: string, found: TestResponse | undefined, expected: TestResponse): void => {
    try {
      assert.deepEqual(JSON.parse(JSON.stringify(found ?? null)), expected);
    } catch {
      mismatches.push({ line: line.slice(0, 300), found, expected });
    }
  };
  for (const { line, target, http1, http2 } of requests) {
    if (http1 !== undefined)
      check(`HTTP/1.1 ${line}`, found1[byHttp1.indexOf(http1)], expectedResponse(http1.expected, target, true));
    if (http2 !== undefined)
      check(`HTTP/2 ${line}`, found2[byHttp2.indexOf(http2)], expectedResponse(http2.expected, target, false));
  }
  t.deepEqual(mismatches, []);
  return mergeCells(countsOf(found1), countsOf(found2));
}

async function inBatches<T, U>(items: readonly T[], run: (item: T) => Promise<U>): Promise<U[]> {
  const results: U[] = [];
  for (let start = 0; start < items.length; start += CONCURRENCY) {
    results.push(...(await Promise.all(items.slice(start, start + CONCURRENCY).map(run))));
  }
  return results;
}

/** Counts the outcomes, the most frequent first. */
function countsOf(answers: readonly TestResponse[]): string {
  const counts = new Map<string, number>();
  for (const { status, end = '' } of answers) {
    const words = status === undefined ? ({ closed: 'closed without a response' }[end] ?? end) : String(status);
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([a, most], [b, more]) => more - most || a.localeCompare(b));
  return sorted.map(([words, count]) => `${words} (${count})`).join(', ');
}

function mergeCells(http1: string, http2: string): string {
  if (http2 === '') return `HTTP/1.1: ${http1}`;
  return http1 === http2 ? `both: ${http1}` : `HTTP/1.1: ${http1}; HTTP/2: ${http2}`;
}

const combinations = everyCombination();
const COMBINED =
  'every combination of `Range`, `If-Range`, `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`';

fault([`${COMBINED} with GET, HEAD, PUT and DELETE`, String(combinations.length)], async (t) => {
  const counts: string[] = [];
  const mismatches: string[] = [];
  for (const client of clients) {
    const found = await inBatches(combinations, async (combination): Promise<TestResponse> => {
      const { method, path, headers, verdict } = combination;
      const body = method === 'PUT' ? Buffer.from('bytes') : undefined;
      const response = await request(client, { method, path, headers, body });
      try {
        assertCombination(combination, response);
      } catch (error) {
        mismatches.push(
          `${client.kind} ${method} ${JSON.stringify(headers)}: ${response.status} for ${verdict}: ${error}`,
        );
      }
      return response.status === undefined ? {} : { status: response.status };
    });
    counts.push(countsOf(found));
  }
  t.deepEqual(mismatches, []);
  return mergeCells(counts[0] ?? '', counts[1] ?? '');
});

function assertCombination(
  { method, verdict, part }: Combination,
  { status, headers, body }: Awaited<ReturnType<typeof request>>,
): void {
  assert.equal(status, verdict);
  if (verdict === 200 && method === 'PUT') {
    assert.equal(headers.etag, storedTag(ARTIFACT, Buffer.from('bytes')));
    return;
  }
  assert.equal(headers['content-range'], { 206: 'bytes 2-4/10', 416: 'bytes */10' }[Number(verdict)]);
  if (verdict >= 400) return;
  const [first, last] = part ?? [0, ARTIFACT.length - 1];
  const expected = verdict === 200 || verdict === 206 ? ARTIFACT.slice(first, last + 1) : '';
  assert.equal(body.toString(), method === 'HEAD' ? '' : expected);
  if (expected !== '') assert.equal(headers['content-length'], String(expected.length));
  if (verdict !== 204) assert.equal(headers.etag, '"tag"');
}

const REPEATED = ['all requests above, during downloads on other connections', String(countOfCorpus())];
fault(REPEATED, repeatDuringDownloads, 'python3-h2');

async function repeatDuringDownloads(t: ExecutionContext): Promise<string> {
  // Includes the keep-alive connections of the clients.
  const descriptors = child.descriptors();
  let isFinished = false;
  const downloads = clients.map(async (client) => {
    let completed = 0;
    while (!isFinished || completed === 0) {
      const { status, body } = await request(client, { path: '/large' });
      if (status !== 200 || !body.equals(LARGE)) return 'a download was incomplete';
      completed++;
    }
    return 'other downloads are complete';
  });
  for (const requests of corpus.values()) await sendAll(t, requests);
  isFinished = true;
  const outcomes = new Set<string>(await Promise.all(downloads));
  await until('all other descriptors are closed', () => child.descriptors() <= descriptors + clients.length);
  const { pooledBytes, mappedBytes } = await child.stats();
  outcomes.add(child.isAlive ? 'the process survives' : 'the process has ended');
  outcomes.add(
    pooledBytes + mappedBytes === 0
      ? 'all buffers and mappings are released'
      : 'some buffers or mappings are not released',
  );
  return [...outcomes].join('; ');
}

function countOfCorpus(): number {
  const count = [...corpus.values()].reduce((sum, requests) => sum + requests.length, 0);
  if (count < 500) throw new Error(`requests.txt: expected at least 500 requests, received ${count}`);
  return count;
}
