import { inspect } from 'node:util';
import test from 'ava';
import { HotblobError } from '../../../src/contract/errors.js';
import { type UpstreamStoreOptions, upstreamStore } from '../../../src/stores/upstream/store.js';
import { content, never, put, refusal } from '../fixture.js';
import { found, read, startPeer, storeOf, WIRES } from './fixture.js';

const SECRET = 'correct-horse';

/** Options that no type would let through. */
const untyped = (options: unknown): UpstreamStoreOptions => options as UpstreamStoreOptions;

const WRONG: Record<string, readonly [string, UpstreamStoreOptions]> = {
  url: ['not a URL', {}],
  'url: expected an http: or https: URL': ['ftp://host', {}],
  'url: expected .* without a fragment': ['http://host/#part', {}],
  'one of the options': ['http://host', untyped({ tokens: SECRET })],
  h2c: ['https://host', { h2c: true }],
  ca: ['http://host', { ca: 'pem' }],
  'ca: expected certificates': ['https://host', untyped({ ca: [1] })],
  token: ['http://host', { token: `${SECRET}\n` }],
  'token: expected no other': ['http://user:pass@host', { token: SECRET }],
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

for (const [message, [url, options]] of Object.entries(WRONG)) {
  test(`refused, with a message about it: ${message}, ${inspect(options, { depth: 0 })}`, (t) => {
    const error = t.throws(() => upstreamStore(url, options), {
      instanceOf: HotblobError,
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: new RegExp(message),
    });
    t.false(inspect(error).includes(SECRET));
  });
}

test('a URL that cannot be parsed is not shown: it may hold a password', (t) => {
  const error = t.throws(() => upstreamStore(`https://user:${SECRET}@:99999/`));
  t.false(inspect(error, { depth: 5 }).includes(SECRET));
});

for (const wire of WIRES) {
  test(`${wire}: credentials go with every request, and stand in no message`, async (t) => {
    const seen: (string | undefined)[] = [];
    let status = 200;
    const peer = await startPeer(t, wire, (request, response) => {
      seen.push(request.headers.authorization);
      request.resume().on('end', () => response.writeHead(status).end('x'));
    });
    const url = new URL(peer.url);
    url.username = 'us%40er';
    url.password = `${SECRET}%2F`;
    const stores = [
      storeOf(t, peer, { token: SECRET }),
      storeOf(t, { ...peer, url: url.href }),
      storeOf(t, { ...peer, url: url.href }, { credentials: { username: 'other', password: SECRET } }),
      storeOf(t, peer),
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
      const artifact = await found(store, 'a');
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
  test(`${wire}: a certificate that is not trusted is refused`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => void response.end('x'));
    const store = storeOf(t, { ...peer, options: {} });
    await t.throwsAsync(store.get('a', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM', /self-signed/));
    t.deepEqual(peer.requests, []);
  });
}
