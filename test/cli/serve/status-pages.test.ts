import { once } from 'node:events';
import { readdir, rename, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { type ServeOptions, serve } from '../../../src/cli/serve/serve.js';
import type { StatsDocument } from '../../../src/cli/serve/status-pages.js';
import { afterHttp2Read } from '../../../src/util/after-http2-read.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { parseMetrics } from '../../metrics/text.js';

async function start(t: ExecutionContext, options: Partial<ServeOptions> = {}): Promise<string> {
  const server = await serve({
    version: '1.2.3',
    kind: 'directory',
    dir: await temporaryDirectory(t),
    immutable: undefined,
    verifyReads: undefined,
    maxBytes: undefined,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: ['bazel', 'plain'],
    access: undefined,
    tls: undefined,
    ...options,
  });
  t.teardown(() => server.close());
  return `http://127.0.0.1:${server.port}`;
}

test('GET /_hotblob/stats returns the statistics', async (t) => {
  const url = await start(t);
  await fetch(`${url}/key`, { method: 'PUT', body: 'ten bytes.' });
  await (await fetch(`${url}/key`)).text();
  const response = await fetch(`${url}/_hotblob/stats`);
  t.is(response.headers.get('content-type'), 'application/json; charset=utf-8');
  t.is(response.headers.get('cache-control'), 'no-store');
  const { version, uptimeSeconds, handler, server, store } = (await response.json()) as StatsDocument; // the declared body
  t.is(version, '1.2.3');
  t.true(uptimeSeconds >= 0);
  t.like(handler, { hits: 1, misses: 0, responses: { 200: 2 } });
  t.true(server.accepted.http1 >= 1);
  t.is(typeof store, 'object');
});

test('GET /_hotblob/metrics returns the metrics of the server and of its process', async (t) => {
  const url = await start(t);
  await fetch(`${url}/missing`);
  const response = await fetch(`${url}/_hotblob/metrics`);
  t.is(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const series = parseMetrics(await response.text());
  t.is(series.get('hotblob_lookups_total{handler="cache",result="miss"}'), 1);
  t.true((series.get('hotblob_connections{server="main",protocol="http1"}') ?? 0) >= 1);
  t.true((series.get('process_resident_memory_bytes') ?? 0) > 0);
});

test('GET / tells what the server is, with links that work below every path', async (t) => {
  const url = await start(t);
  const response = await fetch(`${url}/`);
  t.is(response.status, 200);
  t.is(response.headers.get('content-type'), 'text/html; charset=utf-8');
  const page = await response.text();
  t.regex(page, /hotblob 1\.2\.3<.*build cache/s);
  for (const [, link = ''] of page.matchAll(/href="([^"]*)"/g)) {
    t.notRegex(link, /^\//);
    t.is((await fetch(new URL(link, `${url}/`))).status, 200, link);
  }
  t.is((await fetch(`${url}/`, { method: 'HEAD' })).status, 200);
  const redirect = await fetch(`${url}/_hotblob`, { redirect: 'manual' });
  t.is(redirect.status, 308);
  const { href } = new URL(redirect.headers.get('location') ?? '', 'https://example.com/mounted/_hotblob');
  t.is(href, 'https://example.com/mounted/_hotblob/');
});

test('with tokens, GET / is 403 with a text, and 200 with a token', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, 'read dev-55c1a8e07b3f9d24\n', { mode: 0o600 });
  const url = await start(t, { access: { tokens: file, oidc: undefined, anonymous: undefined } });
  const refused = await fetch(`${url}/`);
  t.is(refused.status, 403);
  const text = await refused.text();
  t.regex(text, /build cache\. It requires a token/);
  t.notRegex(text, /1\.2\.3/);
  const headers = { authorization: 'Bearer dev-55c1a8e07b3f9d24' };
  t.is((await fetch(`${url}/`, { headers })).status, 200);
});

test('the status pages support HTTP/2 and HEAD, and refuse other methods', async (t) => {
  const url = await start(t);
  const session = http2.connect(url);
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  const stream = session.request({ ':path': '/_hotblob/stats?pretty' });
  const [headers] = await once(stream, 'response');
  t.is(headers[':status'], 200);
  t.true(JSON.parse(await text(stream)).server.openStreams >= 1);
  const head = await fetch(`${url}/_hotblob/metrics`, { method: 'HEAD' });
  t.is(head.status, 200);
  t.true(Number(head.headers.get('content-length')) > 0);
  const post = await fetch(`${url}/_hotblob/stats`, { method: 'POST', body: 'x' });
  t.is(post.status, 405);
  t.is(post.headers.get('allow'), 'GET, HEAD');
  // Other paths below /_hotblob/ are passed to the store, where they are misses.
  t.is((await fetch(`${url}/_hotblob/statistics`)).status, 404);
});

test('refuses requests for other hosts, and of pages of other origins', async (t) => {
  const url = await start(t, { allowedHosts: ['cache.example.com'] });
  const session = http2.connect(url);
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  const statusFor = async (authority: string, path: string) => {
    const stream = session.request({ ':authority': authority, ':path': path }).resume();
    const [headers] = await once(stream, 'response');
    return headers[':status'];
  };
  for (const path of ['/_hotblob/ready', '/_hotblob/stats', '/_hotblob/metrics', '/_hotblob/', '/_hotblob/page.js']) {
    t.is(await statusFor('evil.example', path), 421, path);
    t.is(await statusFor('cache.example.com:443', path), 200, path);
    t.is((await fetch(url + path, { method: 'POST', headers: { 'sec-fetch-site': 'same-site' } })).status, 403, path);
  }
  t.is(await statusFor('evil.example', '/key'), 421);
  t.is(await statusFor('cache.example.com', '/key'), 404);
});

test('is live while it runs, and ready while its directory can be used', async (t) => {
  const dir = await temporaryDirectory(t);
  const url = await start(t, { dir: `${dir}/artifacts` });
  const statusOf = async (page: string) => (await fetch(`${url}/_hotblob/${page}`)).status;
  t.deepEqual([await statusOf('live'), await statusOf('ready')], [200, 200]);
  await rename(`${dir}/artifacts`, `${dir}/unmounted`);
  t.deepEqual([await statusOf('live'), await statusOf('ready')], [200, 503]);
  await rename(`${dir}/unmounted`, `${dir}/artifacts`);
  t.is(await statusOf('ready'), 200);
});

test('with readOnly, uploads are refused and the directory does not change', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(`${dir}/key`, 'artifact');
  const url = await start(t, { dir, readOnly: true, writable: false });
  t.is(await (await fetch(`${url}/key`)).text(), 'artifact');
  t.is((await fetch(`${url}/other`, { method: 'PUT', body: 'x' })).status, 405);
  t.is((await fetch(`${url}/key`, { method: 'DELETE' })).status, 405);
  t.deepEqual(await readdir(dir), ['key']);
});

test('stats and metrics require read access for protocol hotblob; ready requires none', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(
    file,
    'read operator-token-0123456789 protocols=hotblob\nread bazel-token-0123456789 protocols=bazel\n',
  );
  const url = await start(t, { access: { tokens: file, oidc: undefined, anonymous: undefined } });
  const ask = (path: string, token?: string) =>
    fetch(`${url}/_hotblob/${path}`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  t.is((await ask('ready')).status, 200);
  for (const path of ['stats', 'metrics']) {
    const refused = await ask(path);
    t.is(refused.status, 401);
    t.regex(refused.headers.get('www-authenticate') ?? '', /^Basic realm=/);
    t.is((await ask(path, 'bazel-token-0123456789')).status, 401);
    t.is((await ask(path, 'operator-token-0123456789')).status, 200);
  }
  const artifact = await fetch(`${url}/key`, { headers: { authorization: 'Bearer operator-token-0123456789' } });
  t.is(artifact.status, 401);
});
