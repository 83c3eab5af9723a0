import test, { type ExecutionContext } from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { ExchangeHandler, Handler } from '../../src/handler/handler.js';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import * as protocolModule from '../../src/protocols/index.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { endToEnd, open } from '../behaviour/site.js';
import { type Request, type Response, request } from '../helpers/client.js';
import { type Kind, type RunningServer, startServer } from '../helpers/servers.js';
import { content, put, temporaryDirectory } from '../stores/fixture.js';

const { jsonReply: _jsonReply, uploadMetadata: _uploadMetadata, ...PROTOCOLS } = protocolModule;
type Name = keyof typeof PROTOCOLS;

const HEX32 = '0123456789abcdef0123456789abcdef';
const HEX64 = `${HEX32}${HEX32}`;
const SCOPE = 'tenant_id=t&namespace_id=n';

/** For each protocol: an artifact that is uploaded by a request without a digest, and further requests that change state. */
const TABLE: Record<Name, { readonly artifact: string; readonly upload: string; readonly others: readonly string[] }> =
  {
    plain: { artifact: '/dir/key', upload: 'PUT', others: ['DELETE /dir/key', 'POST /dir/key', 'PATCH /dir/key'] },
    turborepo: {
      artifact: `/v8/artifacts/${HEX32}`,
      upload: 'PUT',
      others: ['POST /v8/artifacts', 'POST /v8/artifacts/events'],
    },
    nx: { artifact: '/v1/cache/123', upload: 'PUT', others: ['POST /v1/cache/123'] },
    gradle: { artifact: `/gradle/${HEX32}`, upload: 'PUT', others: [] },
    bazel: { artifact: `/bazel/ac/${HEX64}`, upload: 'PUT', others: [`PUT /bazel/cas/${HEX64}`, 'POST /bazel/status'] },
    metro: { artifact: `/metro/${HEX64}`, upload: 'PUT', others: [] },
    ccache: { artifact: `/ccache/ac/${HEX64}`, upload: 'PUT', others: [`DELETE /ccache/ac/${HEX64}`] },
    sccache: {
      artifact: `/sccache/a/b/c/abc${HEX32}`,
      upload: 'PUT',
      others: [`DELETE /sccache/a/b/c/abc${HEX32}`, 'MKCOL /sccache/a/'],
    },
    rush: { artifact: '/rush/team/key', upload: 'POST', others: ['PUT /rush/key', 'PATCH /rush/key'] },
    tuist: {
      artifact: `/api/cache/cas/abc?${SCOPE}`,
      upload: 'POST',
      others: [
        `PUT /api/cache/gradle/abc?${SCOPE}`,
        `PUT /api/cache/keyvalue?${SCOPE}`,
        `POST /api/cache/module/start?${SCOPE}&hash=abc&name=m`,
        `DELETE /api/cache/clean?${SCOPE}`,
        'POST /api/cache/cas/abc',
      ],
    },
  };

const KINDS_OF_TABLE = ['http', 'port-http', 'port-h2c', 'port-h2'] as const satisfies readonly Kind[];

interface GuardedSite {
  readonly server: RunningServer;
  readonly handler: Handler;
  /** Calls of the store, and keys that have been stored. */
  readonly calls: string[];
  ask(methodAndPath: string, headers?: Request['headers'], body?: Uint8Array): Promise<Response>;
}

/** Opens all protocols over a store that records its calls. `wrap` changes what the handler sees of a request. */
async function openGuarded(
  t: ExecutionContext,
  kind: Kind,
  options: Partial<HandlerOptions> = {},
  wrap = (handler: Handler): ExchangeHandler => handler,
): Promise<GuardedSite> {
  const calls: string[] = [];
  const all = memoryStore();
  const uploadsDir = await temporaryDirectory(t);
  const { plain, tuist, ...rest } = PROTOCOLS;
  const handler = createHandler({
    store: {
      get: (key) => {
        calls.push(`get ${key}`);
        return all.get(key);
      },
      put: (key, body, putOptions) => {
        calls.push(`put ${key}`);
        return all.put(key, body, putOptions);
      },
      delete: (key) => {
        calls.push(`delete ${key}`);
        return all.delete(key);
      },
    },
    protocols: [tuist({ uploadsDir }), ...Object.values(rest).map((create) => create()), plain()],
    ...options,
  });
  const server = await startServer(t, kind, wrap(handler));
  t.teardown(() => handler.close());
  return {
    server,
    handler,
    calls,
    ask: (methodAndPath, headers, body) => {
      const [method = '', path = ''] = methodAndPath.split(' ');
      return request(server, { method, path, headers, body });
    },
  };
}

/** Returns the header that names the host of a request. */
function hostHeader({ version }: RunningServer, host: string): Record<string, string> {
  return version === 1 ? { host } : { ':authority': host };
}

/** Asserts that an error has the form of its protocol. Returns its text. */
function assertForm(t: ExecutionContext, response: Response, protocol: Protocol): string {
  const text = response.body.toString();
  const { contentType } = protocol.describeError?.(response.status, 'text') ?? {
    contentType: 'application/json; charset=utf-8',
  };
  t.is(response.headers['content-type'], contentType);
  t.like(response.headers, {
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
  });
  t.is(response.headers['access-control-allow-origin'], undefined);
  return text;
}

test('the table has every protocol', (t) => {
  t.deepEqual(Object.keys(TABLE).sort(), Object.keys(PROTOCOLS).sort());
});

for (const kind of KINDS_OF_TABLE) {
  test(`${kind}: refuses requests of other origins that change something, in every protocol`, async (t) => {
    const { server, calls, ask } = await openGuarded(t, kind);
    const own = `127.0.0.1:${server.port}`;
    const scheme = server.tls ? 'https' : 'http';
    const foreign = [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'cross-site', origin: `${scheme}://${own}` },
      { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: '' },
      { origin: `${scheme}://127.0.0.1:1` },
      { origin: `${scheme}://${own}.evil.example` },
      { origin: `chrome-extension://${own}` },
      // The server itself uses TLS, so a page without TLS is of another origin. On a plain port a proxy may terminate TLS.
      ...(server.tls ? [{ origin: `http://${own}` }] : []),
    ];
    for (const [name, { artifact, upload, others }] of Object.entries(TABLE)) {
      const protocol = PROTOCOLS[name as Name]();
      for (const [index, headers] of foreign.entries()) {
        for (const write of index === 0 ? [`${upload} ${artifact}`, ...others] : [`${upload} ${artifact}`]) {
          const response = await ask(write, headers, /^(?:P|MK)/.test(write) ? content(50_000) : undefined);
          t.is(response.status, 403, `${write} ${JSON.stringify(headers)}`);
          t.regex(assertForm(t, response, protocol), /another origin/);
        }
      }
      t.deepEqual(calls, [], 'the store is not called');
      const allowed = [
        {},
        { 'sec-fetch-mode': 'cors' },
        { 'sec-fetch-site': 'none' },
        { 'sec-fetch-site': 'same-origin', origin: `${scheme}://${own}` },
        { origin: `https://${own}` },
      ];
      for (const headers of allowed) {
        const response = await ask(`${upload} ${artifact}`, headers, content(100));
        t.true(response.status < 300, `${artifact} ${JSON.stringify(headers)}: ${response.status}`);
      }
      t.is((await ask(`GET ${artifact}`, { 'sec-fetch-site': 'cross-site' })).status, 200);
      calls.length = 0;
    }
  });

  test(`${kind}: on a loopback connection without an access policy, answers only for loopback hosts`, async (t) => {
    const { server, calls, ask } = await openGuarded(t, kind);
    for (const [name, { artifact, upload }] of Object.entries(TABLE)) {
      const protocol = PROTOCOLS[name as Name]();
      for (const [write, body] of [[`${upload} ${artifact}`, content(50_000)], [`GET ${artifact}`]] as const) {
        const response = await ask(write, hostHeader(server, `evil.example:${server.port}`), body);
        t.is(response.status, 421, write);
        t.regex(assertForm(t, response, protocol), /allowedHosts.*--allow-host/);
      }
    }
    t.deepEqual(calls, [], 'the store is not called');
    const statusFor = async (host: string) => (await ask('GET /missing', hostHeader(server, host))).status;
    for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1', '128.0.0.1']) {
      t.is(await statusFor(host), 421, host);
    }
    for (const host of [
      'localhost',
      'LOCALHOST:80',
      'localhost.',
      'a.localhost:1',
      '127.8.9.10:8080',
      '[::1]',
      '[::1]:80',
    ]) {
      t.is(await statusFor(host), 404, host);
    }
  });
}

for (const kind of ['http', 'port-h2c'] as const) {
  test(`${kind}: a client without a token, which may write, is answered only for loopback hosts`, async (t) => {
    const token = 'a-token-of-at-least-16-characters';
    const access = staticTokens([{ token, level: 'write' }], { anonymous: 'write' });
    const { server, calls, ask } = await openGuarded(t, kind, { access });
    const foreign = hostHeader(server, `evil.example:${server.port}`);
    for (const [write, body] of [['PUT /key', content(10)], ['GET /key'], ['DELETE /key']] as const) {
      t.is((await ask(write, { ...foreign, 'sec-fetch-site': 'same-origin' }, body)).status, 421, write);
    }
    t.deepEqual(calls, [], 'the store is not called');
    t.is((await ask('PUT /key', {}, content(10))).status, 200);
    t.is((await ask('GET /key', { ...foreign, authorization: `Bearer ${token}` })).status, 200);
  });
}

for (const kind of ['http', 'port-h2c'] as const) {
  test(`${kind}: allowedHosts names further hosts, whatever the access policy and the address`, async (t) => {
    const allowedHosts = ['Cache.example.com', '*.wild.example', '[fd00::1]'];
    const statusesOf = async (site: GuardedSite) => {
      const statuses: Record<string, number> = {};
      for (const host of [
        'cache.example.com:443',
        'a.b.wild.example',
        '[fd00::1]:8080',
        'localhost',
        'wild.example',
        'evil.example',
      ]) {
        statuses[host] = (await site.ask('GET /missing', hostHeader(site.server, host))).status;
      }
      return Object.values(statuses);
    };
    const elsewhere = (handler: Handler): ExchangeHandler => ({
      handle: (exchange) => handler.handle(Object.defineProperty(exchange, 'localAddress', { value: '192.0.2.1' })),
    });
    const access = () => 'write' as const;
    const listed = [404, 404, 404, 404, 421, 421];
    const all = [404, 404, 404, 404, 404, 404];
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { allowedHosts })), listed);
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { allowedHosts, access })), listed);
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { allowedHosts }, elsewhere)), listed);
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { allowedHosts: ['*'] })), all);
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { access })), [421, 421, 421, 404, 421, 421]);
    t.deepEqual(await statusesOf(await openGuarded(t, kind, { access: () => 'none' })), Array(6).fill(401));
    t.deepEqual(await statusesOf(await openGuarded(t, kind, {}, elsewhere)), all);
  });

  test(`${kind}: cors lets the pages of an origin read and write, and answers their preflights`, async (t) => {
    const origin = 'https://app.example.com';
    const { ask } = await openGuarded(t, kind, { cors: [origin] });
    const page = { origin, 'sec-fetch-site': 'cross-site' };
    for (const { artifact, upload } of Object.values(TABLE)) {
      const preflight = await ask(`OPTIONS ${artifact}`, {
        ...page,
        'access-control-request-method': upload,
        'access-control-request-headers': 'authorization,content-type',
      });
      t.is(preflight.status, 204);
      t.like(preflight.headers, {
        'access-control-allow-origin': origin,
        'access-control-allow-methods': upload,
        'access-control-allow-headers': 'authorization,content-type',
        vary: 'origin',
      });
      const stored = await ask(`${upload} ${artifact}`, page, content(10));
      t.true(stored.status < 300);
      t.is(stored.headers['access-control-allow-origin'], origin);
      const found = await ask(`GET ${artifact}`, page);
      t.is(found.status, 200);
      t.like(found.headers, {
        'access-control-allow-origin': origin,
        'access-control-expose-headers': '*',
        vary: 'origin',
      });
      for (const headers of [{}, { ...page, origin: 'https://evil.example' }]) {
        const plainRead = await ask(`GET ${artifact}`, headers);
        t.is(plainRead.headers['access-control-allow-origin'], undefined);
        t.is(plainRead.headers.vary, 'origin', 'a shared cache must keep the responses apart');
      }
      const foreign = { ...page, origin: 'https://evil.example', 'access-control-request-method': upload };
      t.is((await ask(`${upload} ${artifact}`, foreign, content(10))).status, 403);
      t.is((await ask(`OPTIONS ${artifact}`, foreign)).headers['access-control-allow-origin'], undefined);
    }
  });

  test(`${kind}: without cors, no response of any protocol allows another origin`, async (t) => {
    const { ask } = await openGuarded(t, kind);
    const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'PUT' };
    for (const { artifact } of Object.values(TABLE)) {
      for (const method of ['OPTIONS', 'GET', 'HEAD']) {
        const response = await ask(`${method} ${artifact}`, headers);
        t.is(response.headers['access-control-allow-origin'], undefined, `${method} ${artifact}`);
      }
    }
  });

  test(`${kind}: a browser downloads artifacts of every protocol, and runs none of them`, async (t) => {
    const { ask } = await openGuarded(t, kind);
    const isolated = {
      'content-security-policy': "sandbox; default-src 'none'",
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    };
    const download = { ...isolated, 'content-disposition': 'attachment', 'content-type': 'application/octet-stream' };
    for (const { artifact, upload } of Object.values(TABLE)) {
      const type = { 'content-type': 'text/html; charset=utf-8' };
      t.true((await ask(`${upload} ${artifact}`, type, Buffer.from('<script>run()</script>'))).status < 300);
      const whole = await ask(`GET ${artifact}`);
      t.is(whole.status, 200);
      t.like(whole.headers, download, artifact);
      t.like((await ask(`HEAD ${artifact}`)).headers, download);
      const part = await ask(`GET ${artifact}`, { range: 'bytes=0-3' });
      t.is(part.status, 206);
      t.like(part.headers, download);
      const { etag = '' } = whole.headers;
      const unchanged = await ask(`GET ${artifact}`, { 'if-none-match': etag });
      t.is(unchanged.status, 304);
      t.like(unchanged.headers, isolated);
    }
  });

  test(`${kind}: artifacts of a store are sent as they are if the host trusts them, and so are those of its routes`, async (t) => {
    const store = memoryStore();
    await put(store, 'key', '<p>', { metadata: { contentType: 'text/html', headers: { 'x-artifact-tag': 'a' } } });
    const trusting = await open(t, kind, { store, trustArtifacts: true });
    const own = { 'content-type': 'text/html', 'x-content-type-options': 'nosniff', 'x-artifact-tag': 'a' };
    const sent = endToEnd((await trusting.ask('GET', '/key')).headers);
    t.like(sent, own);
    t.deepEqual(Object.keys(sent).sort(), [
      'accept-ranges',
      'cache-control',
      'content-length',
      'content-type',
      'etag',
      'last-modified',
      'x-artifact-tag',
      'x-content-type-options',
    ]);
    for (const [trustArtifacts, type] of [
      [undefined, 'text/html'],
      [false, 'application/octet-stream'],
    ] as const) {
      const handler = createHandler({ store, trustArtifacts });
      const route: ExchangeHandler = {
        handle: async (exchange) => {
          const artifact = await store.get('key');
          if (artifact !== undefined) await handler.send(exchange, artifact);
          return artifact !== undefined;
        },
      };
      const server = await startServer(t, kind, { ...route, close: () => handler.close() });
      t.is((await request(server, { path: '/' })).headers['content-type'], type);
    }
  });
}

test('the metadata of an artifact cannot direct a browser, except by a Content-Disposition', async (t) => {
  const headers = {
    'content-security-policy': 'default-src *',
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'content-type': 'image/svg+xml',
    'set-cookie': 'a=b',
    'service-worker-allowed': '/',
    refresh: '0;url=https://evil.example',
    'content-disposition': 'inline; filename="log.txt"',
    'x-artifact-tag': 'tag',
  };
  const { ask } = await open(t, 'http', { store: { get: () => ({ kind: 'bytes', bytes: content(3), headers }) } });
  t.deepEqual(endToEnd((await ask('GET', '/key')).headers), {
    'accept-ranges': 'bytes',
    'cache-control': 'no-cache, no-transform',
    'content-disposition': 'inline; filename="log.txt"',
    'content-length': '3',
    'content-security-policy': "sandbox; default-src 'none'",
    'content-type': 'application/octet-stream',
    'cross-origin-resource-policy': 'same-origin',
    'x-artifact-tag': 'tag',
    'x-content-type-options': 'nosniff',
  });
});

test('middleware of the host can allow an origin to read, and its Content-Security-Policy applies in addition', async (t) => {
  const store = memoryStore();
  await put(store, 'key', 'a');
  const { ask } = await open(
    t,
    'connect-http',
    { store },
    {
      before: (_request, response, next) => {
        response.setHeader('Access-Control-Allow-Origin', 'https://app.example.com');
        response.setHeader('Content-Security-Policy', "script-src 'self'");
        response.setHeader('Content-Disposition', 'inline');
        next();
      },
    },
  );
  t.like((await ask('GET', '/key')).headers, {
    'access-control-allow-origin': 'https://app.example.com',
    'content-security-policy': "script-src 'self', sandbox; default-src 'none'",
    'content-disposition': 'inline',
  });
  const page = { origin: 'https://app.example.com' };
  t.is((await ask('PUT', '/key', { headers: page, body: content(1) })).status, 403, 'to write needs the option cors');
});

test('with fallthrough, the routes of the host get the requests that the handler does not support', async (t) => {
  for (const kind of ['http', 'h2c-compat'] as const) {
    const { server, ask } = await open(t, kind, { store: memoryStore(), fallthrough: true }, { answers: true });
    const headers = { ...hostHeader(server, 'app.example.com'), 'sec-fetch-site': 'cross-site' };
    t.is((await ask('POST', '/login', { headers, body: content(10) })).status, 200);
    t.is((await ask('POST', '/login', { headers, body: content(10) })).body.toString(), 'the host has answered');
    t.is((await ask('PUT', '/key', { headers, body: content(10) })).status, 421);
  }
});

test('options with invalid hosts or origins are refused', (t) => {
  const store = memoryStore();
  for (const allowedHosts of [['a:80'], ['http://a'], [''], ['*a'], ['a.*'], 'a', [1]]) {
    t.throws(() => createHandler({ store, allowedHosts: allowedHosts as never }), {
      message: /^allowedHosts: expected an array of host names/,
    });
  }
  for (const cors of [['*'], ['null'], ['https://a/'], ['https://a:443'], ['https://A'], ['a'], 'https://a', [1]]) {
    t.throws(() => createHandler({ store, cors: cors as never }), { message: /^cors: expected an array of origins/ });
  }
  t.notThrows(() => createHandler({ store, cors: ['https://a', 'http://localhost:3000', 'chrome-extension://abc'] }));
});
