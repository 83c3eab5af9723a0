import { once } from 'node:events';
import { closeSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { AccessPolicy } from '../../src/access/policy.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { BytesArtifact, FileArtifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';
import { createDashboard, type Dashboard, type DashboardOptions } from '../../src/dashboard/index.js';
import type { ArtifactDetails, ResidencyMap } from '../../src/dashboard/residency.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { HistoryWindow } from '../../src/history/history.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { LATENCY_BOUNDS_SECONDS } from '../../src/util/histogram.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { evict, residentBytes } from '../helpers/page-cache.js';
import { until } from '../helpers/poll.js';
import { openPort, type Port } from '../server/fixture.js';
import { content } from '../stores/fixture.js';

interface Site extends Port {
  readonly handler: Handler;
  readonly dashboard: Dashboard;
  readonly url: string;
}

/** Starts a server with a handler and its dashboard. */
async function openSite(t: ExecutionContext, store: Store, options: Partial<DashboardOptions> = {}): Promise<Site> {
  const handler = createHandler({ store });
  let dashboard: Dashboard | undefined;
  const port = await openPort(t, {
    handle: async (exchange) => (await dashboard?.handle(exchange)) || handler.handle(exchange),
  });
  dashboard = createDashboard({ handler, server: port.server, store, ...options });
  t.teardown(() => {
    dashboard?.close();
    handler.close();
  });
  return { ...port, handler, dashboard, url: `http://127.0.0.1:${port.port}` };
}

/** Yields the messages of an event stream. */
async function* messagesIn(stream: Readable): AsyncGenerator<Record<string, unknown>> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const message = text.slice(0, end);
      if (!message.startsWith('data: ')) throw new Error(`not a message: ${message}`);
      yield JSON.parse(message.slice('data: '.length));
      text = text.slice(end + 2);
    }
  }
}

async function entriesOf(store: Store): Promise<{ readonly key: string; readonly usedAt: number }[]> {
  const entries = [];
  for await (const { key, usedAt } of store.list?.() ?? []) entries.push({ key, usedAt });
  return entries;
}

async function json<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status} for ${url}`);
  return (await response.json()) as T; // the caller knows the type
}

async function openEvents(t: ExecutionContext, { port }: Site, version: 1 | 2): Promise<Readable> {
  if (version === 1) {
    const request = http.get({ port, host: '127.0.0.1', path: '/_hotblob/events', agent: false });
    t.teardown(() => request.destroy());
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    t.like(response.headers, { 'content-type': 'text/event-stream; charset=utf-8' });
    return response.on('error', () => {});
  }
  const session = http2.connect(`http://127.0.0.1:${port}`).on('error', () => {});
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  const stream = session.request({ ':path': '/_hotblob/events' }).on('error', () => {});
  const [headers] = await once(stream, 'response');
  t.is(headers[':status'], 200);
  return stream;
}

test('a page of another site can open the dashboard with a link, but nothing else of it', async (t) => {
  const { url } = await openSite(t, memoryStore());
  const statusOf = async (name: string, destination: string): Promise<number> => {
    const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': destination };
    // fetch() does not let a program set these headers.
    const request = http.get(`${url}/_hotblob/${name}`, { headers, agent: false });
    t.teardown(() => request.destroy());
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response.statusCode ?? 0;
  };
  t.is(await statusOf('', 'document'), 200);
  t.is(await statusOf('', 'iframe'), 403);
  for (const name of ['events', 'history.json?seconds=600', 'residency.json', 'artifact.json?key=a'])
    t.is(await statusOf(name, 'image'), 403);
});

test('the page, its script and its style have a strict Content-Security-Policy', async (t) => {
  const { url } = await openSite(t, memoryStore());
  for (const [name, type] of [
    ['', 'text/html; charset=utf-8'],
    ['page.js', 'text/javascript; charset=utf-8'],
    ['page.css', 'text/css; charset=utf-8'],
  ] as const) {
    const response = await fetch(`${url}/_hotblob/${name}`);
    t.is(response.status, 200);
    t.is(response.headers.get('content-type'), type);
    t.is(response.headers.get('x-content-type-options'), 'nosniff');
    const policy = response.headers.get('content-security-policy') ?? '';
    t.regex(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    t.false(policy.includes('unsafe'));
    t.true((await response.text()).length > 1000);
  }
  const bare = await fetch(`${url}/_hotblob`, { redirect: 'manual' });
  t.is(bare.status, 308);
  t.is(bare.headers.get('location'), './_hotblob/');
  t.is((await fetch(`${url}/_hotblob/events`, { method: 'POST' })).status, 405);
  t.is((await fetch(`${url}/_hotblob/other`)).status, 404);
});

test('refuses requests for other hosts, and of pages of other origins', async (t) => {
  const { url, port } = await openSite(t, memoryStore());
  for (const name of ['', 'page.js', 'events', 'history.json', 'residency.json', 'artifact.json']) {
    for (const method of ['GET', 'POST']) {
      const request = http.request({
        port,
        host: '127.0.0.1',
        path: `/_hotblob/${name}`,
        method,
        headers: { host: 'evil.example' },
      });
      const [response] = (await once(request.end(), 'response')) as [IncomingMessage];
      t.is(response.statusCode, 421, `${method} ${name}`);
      response.resume();
    }
    const foreign = await fetch(`${url}/_hotblob/${name}`, {
      method: 'POST',
      headers: { origin: 'https://evil.example' },
    });
    t.is(foreign.status, 403);
  }
});

for (const version of [1, 2] as const) {
  test(`HTTP/${version}: an event stream sends the statistics at once and every second`, async (t) => {
    const site = await openSite(t, memoryStore());
    await fetch(`${site.url}/key`, { method: 'PUT', body: content(1000) });
    const messages = messagesIn(await openEvents(t, site, version));
    const { value: first } = await messages.next();
    t.deepEqual(first?.['bounds'], [...LATENCY_BOUNDS_SECONDS]);
    t.like(first?.['handler'], { responses: { 200: 1 } });
    t.true(Math.abs(Number(first?.['time']) - Date.now()) < 60_000);
    t.is(typeof first?.['server'], 'object');
    await (await fetch(`${site.url}/key`)).arrayBuffer();
    const { value: second } = await messages.next();
    t.is(second?.['bounds'], undefined);
    t.like(second?.['handler'], { hits: 1, sent: { bytes: { bytes: 1000 } } });
  });
}

test('history.json has samples from before the page was first opened', async (t) => {
  const site = await openSite(t, memoryStore());
  await fetch(`${site.url}/missing`);
  let history: HistoryWindow = { times: [], columns: {} };
  await until('two samples are recorded', async () => {
    history = await json<HistoryWindow>(`${site.url}/_hotblob/history.json?seconds=600`);
    return history.times.length >= 2;
  });
  t.true(Number(history.times[1]) >= 1000, 'the second time is a difference in milliseconds');
  t.deepEqual(history.columns['misses']?.slice(0, 2), [0, 1]);
  t.deepEqual(history.columns['protocol/plain/responses']?.slice(0, 2), [0, 1]);
  t.true('now/delay' in history.columns && 'now/connections' in history.columns);
  site.dashboard.close();
});

test('if the statistics fail, event streams end, and further requests for one are answered with 500', async (t) => {
  const store = memoryStore();
  let isFailing = false;
  const stats = () => {
    if (isFailing) throw new Error('the store is closed');
    return store.stats();
  };
  const site = await openSite(t, store, { store: { stats } });
  for (const version of [1, 2] as const) {
    isFailing = false;
    const stream = await openEvents(t, site, version);
    stream.on('error', () => {}).resume();
    const closed = new Promise((resolve) => stream.once('close', resolve));
    isFailing = true;
    await closed;
    t.is((await fetch(`${site.url}/_hotblob/events`)).status, 500);
  }
  isFailing = false;
  const { value: message } = await messagesIn(await openEvents(t, site, 1)).next();
  t.is(typeof message?.['store'], 'object');
});

test('close() ends the event streams, and further requests for one are answered with 503', async (t) => {
  const site = await openSite(t, memoryStore());
  const stream = await openEvents(t, site, 2);
  stream.resume();
  const ended = once(stream, 'end');
  site.dashboard.close();
  await ended;
  t.is((await fetch(`${site.url}/_hotblob/events`)).status, 503);
});

test('one connection gets eight event streams, and an address with fewer viewers always gets one', async (t) => {
  const site = await openSite(t, memoryStore());
  const session = await site.session();
  const openStream = () => session.request({ ':path': '/_hotblob/events' }).on('error', () => {});
  const statusOf = async (stream: http2.ClientHttp2Stream) => (await once(stream, 'response'))[0][':status'];
  const streams = Array.from({ length: 8 }, openStream);
  for (const stream of streams) t.is(await statusOf(stream), 200);
  t.is(await statusOf(openStream()), 503);
  streams.pop()?.destroy();
  await until('a place is free', async () => (await statusOf(openStream())) === 200);
  for (let count = 8; count < 32; count++) (await openEvents(t, site, 1)).resume();
  const statusFrom = async (localAddress: string) => {
    const options = { port: site.port, host: '127.0.0.1', path: '/_hotblob/events', agent: false, localAddress };
    const request = http.get(options);
    t.teardown(() => request.destroy());
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.on('error', () => {}).resume();
    return response.statusCode;
  };
  t.is(await statusFrom('127.0.0.1'), 503);
  const ended = once(streams[0]?.resume() ?? session, 'end');
  t.is(await statusFrom('127.0.0.2'), 200);
  await ended;
});

test('at most one message is pending for a viewer that does not read, and other viewers are not delayed', async (t) => {
  const site = await openSite(t, memoryStore());
  const session = await site.session({ settings: { initialWindowSize: 0 } });
  const stalled = session.request({ ':path': '/_hotblob/events' }).on('error', () => {});
  await once(stalled, 'response');
  const messages = messagesIn(await openEvents(t, site, 1));
  for (let count = 0; count < 4; count++) t.false((await messages.next()).done);
  t.is(site.server.stats().openStreams, 1);
  t.like(site.handler.stats(), { active: 0 });
});

test('residency.json lists the resident bytes of the artifacts, most downloaded first', async (t) => {
  const directory = await temporaryDirectory(t);
  const sizes = { cold: 256 * KIB, hot: 128 * KIB, part: 4 * MIB, tiny: 100 };
  for (const [name, size] of Object.entries(sizes)) writePattern(directory, name, size, 1);
  const store = await directoryStore(directory, { immutable: true });
  t.teardown(() => store.close());
  const site = await openSite(t, store);
  evict(join(directory, 'cold'));
  const part = join(directory, 'part');
  evict(part);
  // The kernel reads ahead, so more than one page becomes resident.
  const fd = openSync(part, 'r');
  readSync(fd, Buffer.alloc(4096), 0, 4096, 0);
  closeSync(fd);
  // Downloads are counted once the page has been opened.
  await fetch(`${site.url}/_hotblob/`);
  for (const name of ['hot', 'hot', 'tiny', 'missing']) await (await fetch(`${site.url}/${name}`)).arrayBuffer();
  await until('all responses have ended', () => site.handler.stats().active === 0);
  const residentNow = () => Object.keys(sizes).map((key) => [key, residentBytes(join(directory, key))] as const);
  const before = new Map(residentNow());
  const { cells, rest, total } = await json<ResidencyMap>(`${site.url}/_hotblob/residency.json`);
  const after = new Map(residentNow());
  t.deepEqual(
    cells.map(({ key, size, downloads }) => ({ key, size, downloads })),
    [
      { key: 'hot', size: sizes.hot, downloads: 2 },
      { key: 'tiny', size: sizes.tiny, downloads: 1 },
      { key: 'part', size: sizes.part, downloads: 0 },
      { key: 'cold', size: sizes.cold, downloads: 0 },
    ],
  );
  for (const { key, size, resident } of cells) {
    // The kernel may reclaim pages in between.
    t.true(Number(resident) <= Math.min(size, before.get(key) ?? 0), `${key}: ${resident} of ${before.get(key)}`);
    t.true(Number(resident) >= Math.min(size, after.get(key) ?? 0), `${key}: ${resident}, ${after.get(key)}`);
  }
  t.is(cells[3]?.resident, 0);
  t.true(Number(cells[2]?.resident) > 0);
  t.deepEqual(rest, { artifacts: 0, bytes: 0 });
  const all = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  t.deepEqual(total, {
    artifacts: 4,
    bytes: all,
    resident: cells.reduce((sum, cell) => sum + (cell.resident ?? 0), 0),
  });

  const some = await json<ArtifactDetails>(`${site.url}/_hotblob/artifact.json?key=part`);
  t.like(some, { key: 'part', size: 4 * MIB, pageBytes: 4096, responses: [] });
  const pages = (runs: ArtifactDetails['runs'], state: 0 | 1): number =>
    (runs ?? []).reduce((sum, [isResident, count]) => (isResident === state ? sum + count : sum), 0);
  t.is(pages(some.runs, 0) + pages(some.runs, 1), 1024);
  t.deepEqual(some.runs?.at(-1)?.[0], 0);
  t.true(pages(some.runs, 1) * 4096 <= (before.get('part') ?? 0));
  const hot = await json<ArtifactDetails>(`${site.url}/_hotblob/artifact.json?key=hot`);
  t.is(pages(hot.runs, 0) + pages(hot.runs, 1), 32);
  t.true(pages(hot.runs, 1) * 4096 >= residentBytes(join(directory, 'hot')));
  t.is(hot.responses.length, 2);
  t.like(hot.responses[0], { method: 'GET', status: 200, bytes: 128 * KIB, complete: true });
  const missing = await fetch(`${site.url}/_hotblob/artifact.json?key=missing`);
  t.is(missing.status, 404);
  t.deepEqual(Object.keys((await missing.json()) as object), ['message']);
});

test('if a store has more than 2,000 artifacts, the others are summed up', async (t) => {
  const artifact: FileArtifact = { kind: 'file', path: '/nowhere' };
  const store: Store = {
    get: () => undefined,
    list: async function* () {
      for (let index = 1; index <= 9000; index++) yield { key: `key-${index}`, artifact, size: index, usedAt: 0 };
    },
  };
  const { url } = await openSite(t, store);
  const { cells, rest, total } = await json<ResidencyMap>(`${url}/_hotblob/residency.json`);
  t.is(cells.length, 2000);
  t.deepEqual(cells[0], { key: 'key-9000', size: 9000, resident: null, downloads: 0 });
  t.deepEqual(cells.at(-1)?.key, 'key-7001');
  t.deepEqual(rest, { artifacts: 7000, bytes: (7000 * 7001) / 2 });
  t.deepEqual(total, { artifacts: 9000, bytes: (9000 * 9001) / 2, resident: 0 });
});

test('concurrent requests share one listing of the store, which is reused for some time', async (t) => {
  let listings = 0;
  const memory = memoryStore();
  const store: Store = {
    get: (key) => memory.get(key),
    list: () => {
      listings++;
      return memory.list();
    },
  };
  const { url } = await openSite(t, store);
  await Promise.all(Array.from({ length: 5 }, () => fetch(`${url}/_hotblob/residency.json`)));
  await fetch(`${url}/_hotblob/residency.json`);
  t.is(listings, 1);
});

test('residency.json is 404 for a store without list(), and 500 if list() fails', async (t) => {
  const silent = await openSite(t, { get: () => undefined });
  t.is((await fetch(`${silent.url}/_hotblob/residency.json`)).status, 404);
  const failing = await openSite(t, {
    get: () => undefined,
    // biome-ignore lint/correctness/useYield: it throws before the first entry
    list: async function* () {
      throw new Error('disk failure');
    },
  });
  const response = await fetch(`${failing.url}/_hotblob/residency.json`);
  t.is(response.status, 500);
  t.deepEqual(Object.keys((await response.json()) as object), ['message']);
});

test('the dashboard requires read access, and a browser is asked for a password', async (t) => {
  const access = staticTokens([{ level: 'read', token: 'operator-token-0123456789', protocols: ['hotblob'] }]);
  const { url } = await openSite(t, memoryStore(), { access });
  const names = ['', 'page.js', 'page.css', 'events', 'residency.json', 'artifact.json?key=a'];
  for (const name of names) {
    const response = await fetch(`${url}/_hotblob/${name}`);
    t.is(response.status, 401, name);
    t.regex(response.headers.get('www-authenticate') ?? '', /^Basic realm="hotblob"/);
  }
  const authorization = `Basic ${Buffer.from('any:operator-token-0123456789').toString('base64')}`;
  t.is((await fetch(`${url}/_hotblob/`, { headers: { authorization } })).status, 200);
});

test('artifact.json contains the last ten responses for an artifact, latest first', async (t) => {
  const artifact: BytesArtifact = { kind: 'bytes', bytes: Buffer.alloc(100) };
  const store: Store = {
    get: () => artifact,
    list: async function* () {
      yield { key: 'key', artifact, size: 100, usedAt: 0 };
    },
  };
  const { url, handler } = await openSite(t, store);
  const sizes = async (): Promise<number[]> =>
    (await json<ArtifactDetails>(`${url}/_hotblob/artifact.json?key=key`)).responses.map(({ bytes }) => bytes);
  t.deepEqual(await sizes(), []);
  for (let size = 1; size <= 13; size++) {
    await (await fetch(`${url}/key`, { headers: { range: `bytes=0-${size - 1}` } })).arrayBuffer();
    await until('the response has ended', () => handler.stats().active === 0);
    if (size === 3) t.deepEqual(await sizes(), [3, 2, 1]);
  }
  t.deepEqual(await sizes(), [13, 12, 11, 10, 9, 8, 7, 6, 5, 4]);
});

test('keys requested longest ago are forgotten, keys requested again are not', async (t) => {
  const artifact: BytesArtifact = { kind: 'bytes', bytes: Buffer.alloc(10) };
  const store: Store = {
    get: () => artifact,
    list: async function* () {
      for (const key of ['once', 'again']) yield { key, artifact, size: 10, usedAt: 0 };
    },
  };
  const { url, handler } = await openSite(t, store);
  await fetch(`${url}/_hotblob/`);
  const download = async (key: string): Promise<void> => void (await (await fetch(`${url}/${key}`)).arrayBuffer());
  await download('once');
  for (let index = 0; index < 5000; index++) {
    if (index % 1000 === 0) await download('again');
    await download(`other-${index}`);
  }
  await until('all responses have ended', () => handler.stats().active === 0);
  const { cells } = await json<ResidencyMap>(`${url}/_hotblob/residency.json`);
  t.deepEqual(
    cells.map(({ key, downloads }) => [key, downloads]),
    [
      ['again', 5],
      ['once', 0],
    ],
  );
});

test('artifact.json tells the scope, the namespace and the writer, without counting as a use', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await directoryStore(directory, { maxBytes: 100 * MIB });
  t.teardown(() => store.close());
  const site = await openSite(t, store);
  const key = '.scopes/pr%2f7/gradle/namespaces/team/0123';
  await store.put(key, Readable.from([content(1000)]), { metadata: { subject: 'ci of pr/7' } });
  const before = await entriesOf(store);
  const details = await json<ArtifactDetails>(`${site.url}/_hotblob/artifact.json?key=${encodeURIComponent(key)}`);
  t.like(details, { key, scope: 'pr/7', protocol: 'gradle', namespace: 'team', writer: 'ci of pr/7', size: 1000 });
  const { mtimeMs } = await stat(join(directory, key));
  t.is(details.storedAt, mtimeMs);
  t.deepEqual(await entriesOf(store), before);
});

test('a response is shown with the artifact of its scope', async (t) => {
  const store = memoryStore();
  const access: AccessPolicy = () => ({ level: 'write', scope: 'main' });
  const handler = createHandler({ store, access });
  const port = await openPort(t, handler);
  const dashboard = createDashboard({ handler, store });
  t.teardown(() => {
    dashboard.close();
    handler.close();
  });
  const pages = await openPort(t, dashboard);
  const page = `http://127.0.0.1:${pages.port}/_hotblob/`;
  await fetch(page);
  await fetch(`http://127.0.0.1:${port.port}/key`, { method: 'PUT', body: 'ten bytes.' });
  await (await fetch(`http://127.0.0.1:${port.port}/key`)).arrayBuffer();
  await until('all responses have ended', () => handler.stats().active === 0);
  const { cells } = await json<ResidencyMap>(`${page}residency.json`);
  t.deepEqual(cells, [{ key: '.scopes/main/key', size: 10, resident: 10, downloads: 1 }]);
  const { responses } = await json<ArtifactDetails>(`${page}artifact.json?key=.scopes/main/key`);
  t.deepEqual(
    responses.map(({ method, bytes }) => [method, bytes]),
    [
      ['GET', 10],
      ['PUT', 10],
    ],
  );
});

test('an artifact is removed only with write access, and not by a page of another site', async (t) => {
  const access = staticTokens([
    { level: 'write', token: 'writer-0123456789', protocols: ['hotblob'] },
    { level: 'read', token: 'reader-0123456789', protocols: ['hotblob'] },
  ]);
  const store = memoryStore();
  const site = await openSite(t, store, { access });
  await store.put('key', Readable.from([content(10)]));
  const statusOf = async (token: string | undefined, method = 'POST', headers: Record<string, string> = {}) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { method, headers: { ...authorization, ...headers } };
    return (await fetch(`${site.url}/_hotblob/remove?key=key`, options)).status;
  };
  const isRemovable = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${site.url}/_hotblob/artifact.json?key=key`, { headers });
    return ((await response.json()) as { isRemovable: boolean }).isRemovable;
  };
  t.is(await statusOf(undefined), 401);
  t.is(await statusOf('reader-0123456789'), 403);
  t.is(await statusOf('writer-0123456789', 'GET'), 405);
  t.is(await statusOf('writer-0123456789', 'POST', { origin: 'https://evil.example' }), 403);
  t.is(await isRemovable('reader-0123456789'), false);
  t.is(await isRemovable('writer-0123456789'), true);
  t.is((await entriesOf(store)).length, 1);
  t.is(await statusOf('writer-0123456789'), 200);
  t.deepEqual(await entriesOf(store), []);
  t.is(await statusOf('writer-0123456789'), 404);
});

test('without access, or if the store cannot delete, nothing can be removed by default', async (t) => {
  const store = memoryStore();
  await store.put('key', Readable.from([content(10)]));
  const list: Store['list'] = () => store.list();
  for (const options of [{}, { removal: true, store: { list } }]) {
    const site = await openSite(t, store, options);
    const removal = await fetch(`${site.url}/_hotblob/remove?key=key`, { method: 'POST' });
    t.is(removal.status, 403);
    const details = await json<{ isRemovable: boolean }>(`${site.url}/_hotblob/artifact.json?key=key`);
    t.is(details.isRemovable, false);
  }
  t.is((await entriesOf(store)).length, 1);
});

test('responses of other handlers are not shown', async (t) => {
  const store = memoryStore();
  const other = createHandler({ store });
  t.teardown(() => other.close());
  const otherPort = await openPort(t, other);
  const { url, handler } = await openSite(t, store);
  await fetch(`${url}/key`, { method: 'PUT', body: content(10) });
  await fetch(`${url}/_hotblob/`);
  await (await fetch(`http://127.0.0.1:${otherPort.port}/key`)).arrayBuffer();
  await (await fetch(`${url}/key`)).arrayBuffer();
  await until('all responses have ended', () => handler.stats().active + other.stats().active === 0);
  const { cells } = await json<ResidencyMap>(`${url}/_hotblob/residency.json`);
  t.deepEqual(cells, [{ key: 'key', size: 10, resident: 10, downloads: 1 }]);
});

test('refuses invalid options', (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  for (const [options, message] of [
    [{}, /^handler: expected an object with a stats\(\) method, received undefined$/],
    [{ handler: {} }, /^handler: expected an object with a stats\(\) method/],
    [{ handler, path: '/_hotblob' }, /^path: expected a path that starts and ends with "\/"/],
    [{ handler, token: 'x' }, /^unknown option 'token'; expected one of/],
    [{ handler, access: 'x' }, /^access: expected a function/],
  ] as const) {
    t.throws(() => createDashboard(options as never), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
});
