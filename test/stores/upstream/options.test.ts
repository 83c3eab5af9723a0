import { inspect } from 'node:util';
import test from 'ava';
import { HotblobError } from '../../../src/contract/errors.js';
import { type UpstreamStoreOptions, upstreamStore } from '../../../src/stores/upstream/store.js';
import { content, never, put, refusal } from '../fixture.js';
import { lookUp, read, startUpstream, storeOf, WIRES } from './fixture.js';

const SECRET = 'correct-horse';

/** Options that the type does not allow. */
const untyped = (options: unknown): UpstreamStoreOptions => options as UpstreamStoreOptions;

const INVALID: Record<string, readonly [string, UpstreamStoreOptions]> = {
  url: ['not a URL', {}],
  'url: expected an http: or https: URL': ['ftp://host', {}],
  'url: expected .* without a fragment': ['http://host/#part', {}],
  "unknown option 'tokens'; expected one of": ['http://host', untyped({ tokens: SECRET })],
  h2c: ['https://host', { h2c: true }],
  ca: ['http://host', { ca: 'pem' }],
  'ca: expected one or more certificates in PEM': ['https://host', untyped({ ca: [1] })],
  token: ['http://host', { token: `${SECRET}\n` }],
  'token: cannot be combined with': ['http://user:pass@host', { token: SECRET }],
  'token: expected visible': ['http://host', untyped({ token: 1 })],
  credentials: ['http://host', untyped({ credentials: SECRET })],
  'credentials: expected': ['http://host', { credentials: { username: 'a:b', password: SECRET } }],
  connectTimeoutMs: ['http://host', { connectTimeoutMs: 0 }],
  stallTimeoutMs: ['http://host', { stallTimeoutMs: 2 ** 31 }],
  streamWindowBytes: ['http://host', { streamWindowBytes: 1 }],
  sessionWindowBytes: ['http://host', { sessionWindowBytes: 100_000 }],
  maxConnections: ['http://host', { maxConnections: 0 }],
  options: ['http://host', untyped(null)],
};

for (const [message, [url, options]] of Object.entries(INVALID)) {
  test(`refuses ${inspect(options, { depth: 0 })} with a message that matches ${message}`, (t) => {
    const error = t.throws(() => upstreamStore(url, options), {
      instanceOf: HotblobError,
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: new RegExp(message),
    });
    t.false(inspect(error).includes(SECRET));
  });
}

test('the error for an invalid URL does not contain the URL, which may contain a password', (t) => {
  const error = t.throws(() => upstreamStore(`https://user:${SECRET}@:99999/`));
  t.false(inspect(error, { depth: 5 }).includes(SECRET));
});

for (const wire of WIRES) {
  test(`${wire}: credentials are sent with every request and appear in no error`, async (t) => {
    const seen: (string | undefined)[] = [];
    let status = 200;
    const upstream = await startUpstream(t, wire, (request, response) => {
      seen.push(request.headers.authorization);
      request.resume().on('end', () => response.writeHead(status).end('x'));
    });
    const url = new URL(upstream.url);
    url.username = 'us%40er';
    url.password = `${SECRET}%2F`;
    const stores = [
      storeOf(t, upstream, { token: SECRET }),
      storeOf(t, { ...upstream, url: url.href }),
      storeOf(t, { ...upstream, url: url.href }, { credentials: { username: 'other', password: SECRET } }),
      storeOf(t, upstream),
    ];
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const expected = [
      `Bearer ${SECRET}`,
      `Basic ${base64(`us@er:${SECRET}/`)}`,
      `Basic ${base64(`other:${SECRET}`)}`,
      undefined,
    ];
    for (const [index, store] of stores.entries()) {
      seen.length = 0;
      await put(store, 'a', content(10));
      const artifact = await lookUp(store, 'a');
      await read(artifact);
      await read(artifact, { start: 0, end: 1 }).catch(() => {});
      await store.delete('a');
      t.deepEqual(seen, Array(4).fill(expected[index]));
    }
    status = 401;
    for (const store of stores) {
      const error = await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_DENIED'));
      const shown = inspect(error, { depth: 10, showHidden: true });
      for (const secret of [SECRET, ...expected.slice(1, 3)]) t.false(shown.includes(String(secret)), shown);
    }
  });
}

for (const wire of ['https', 'h2'] as const) {
  test(`${wire}: rejects when the certificate is not trusted`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => void response.end('x'));
    const store = storeOf(t, { ...upstream, options: {} });
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM', /self-signed/));
    t.deepEqual(upstream.requests, []);
  });
}
