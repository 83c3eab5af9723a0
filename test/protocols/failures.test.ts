import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Readable } from 'node:stream';
import test from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { Store } from '../../src/contract/store.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { ccache } from '../../src/protocols/ccache.js';
import { gradle } from '../../src/protocols/gradle.js';
import { metro } from '../../src/protocols/metro.js';
import { nx } from '../../src/protocols/nx.js';
import { plain } from '../../src/protocols/plain.js';
import { rush } from '../../src/protocols/rush.js';
import { sccache } from '../../src/protocols/sccache.js';
import { tuist } from '../../src/protocols/tuist/tuist.js';
import { turborepo } from '../../src/protocols/turborepo.js';
import { open } from '../behaviour/site.js';
import { until } from '../helpers/poll.js';
import { content } from '../stores/fixture.js';

const KINDS = ['http', 'port-h2c'] as const;
const HASH = '0123456789abcdef'.repeat(4);
/** Path of an artifact of each protocol, and the statuses of a failed download and upload; undefined: that of the failure. */
const PROTOCOLS = [
  [nx, `/v1/cache/123`, 404, 403],
  [turborepo, '/v8/artifacts/0123456789abcdef', 404, undefined],
  [gradle, `/gradle/${HASH.slice(32)}`, 404, 202],
  [bazel, `/bazel/ac/${HASH}`, 404, undefined],
  [metro, `/metro/${HASH}`, 404, 202],
  [ccache, `/ccache/${HASH.slice(24)}`, 404, undefined],
  [sccache, `/sccache/0/1/2/${HASH}`, 404, undefined],
  [rush, '/rush/project-0123abcd', 404, 202],
  [tuist, `/api/cache/gradle/key?tenant_id=a&namespace_id=b`, 404, undefined],
  [plain, `/key`, undefined, undefined],
] as const;

const FAILURES: readonly (readonly [error: unknown, status: number])[] = [
  [new Error('the store throws'), 500],
  ['not an error', 500],
  [new HotblobError('ERR_HOTBLOB_CORRUPT', 'corrupt'), 500],
  [new HotblobError('ERR_HOTBLOB_UPSTREAM', 'the remote is down'), 502],
  [new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', 'timeout'), 504],
  [new HotblobError('ERR_HOTBLOB_OVERLOADED', 'overload'), 503],
  [new HotblobError('ERR_HOTBLOB_CLOSED', 'draining'), 503],
  [new HotblobError('ERR_HOTBLOB_STORAGE_FULL', 'full'), 507],
  [Object.assign(new Error('disk full'), { code: 'ENOSPC' }), 507],
  [Object.assign(new Error('descriptors exhausted'), { code: 'EMFILE' }), 503],
  [Object.assign(new Error('not permitted'), { code: 'EACCES' }), 403],
];

test('a server without descriptors closes an HTTP/1.1 connection, whatever status it sends', async (t) => {
  const fail = () => Promise.reject(Object.assign(new Error('no descriptor'), { code: 'EMFILE' }));
  const { ask } = await open(t, 'http', { store: { get: fail, put: fail }, protocols: [gradle()] });
  for (const method of ['GET', 'PUT']) {
    const { headers } = await ask(method, `/gradle/${HASH.slice(32)}`, method === 'PUT' ? { body: content(10) } : {});
    t.is(headers.connection, 'close');
  }
});

for (const kind of KINDS) {
  for (const [create, path, miss, skip] of PROTOCOLS) {
    const protocol = create();

    test(`${kind}, ${protocol.name}: a failure is answered as a miss or a skipped upload, and counted as a failure`, async (t) => {
      let error: unknown;
      const fail = () => Promise.reject(error);
      const { ask, handler } = await open(t, kind, { store: { get: fail, put: fail }, protocols: [protocol] });
      for (const [failure, status] of FAILURES) {
        error = failure;
        for (const method of ['GET', 'HEAD'] as const) {
          const { status: received, headers, body } = await ask(method, path);
          t.is(received, miss ?? status, `${method} ${failure}`);
          t.truthy(headers['content-length']);
          t.is(body.byteLength > 0, method === 'GET');
        }
        const { status: received, body } = await ask('PUT', path, { body: content(1000) });
        t.is(received, skip ?? status, `PUT ${failure}`);
        t.is(body.byteLength > 0, received >= 300);
      }
      await until('all requests are over', () => handler.stats().active === 0);
      const { responseCounts, hits, misses } = handler.stats();
      t.deepEqual({ hits, misses }, { hits: 0, misses: 0 });
      t.is(
        responseCounts.reduce((sum, { failure, count }) => (failure === undefined ? sum : sum + count), 0),
        3 * FAILURES.length,
      );
      t.true(responseCounts.some(({ failure, status }) => failure === 502 && status === (miss ?? 502)));
    });

    test(`${kind}, ${protocol.name}: a read-only store and an upload above the limit are skipped uploads`, async (t) => {
      const get = () => undefined;
      const readOnly = await open(t, kind, { store: { get }, protocols: [protocol] });
      const refused = await readOnly.ask('PUT', path, { body: content(1000) });
      t.is(refused.status, skip ?? 405);
      t.is(refused.headers.allow, 'GET, HEAD');
      t.is(readOnly.handler.stats().responseCounts[0]?.failure, 405);
      // A method that the protocol does not have is not a failure of the server.
      if (protocol.name !== 'tuist') t.is((await readOnly.ask('PURGE', path, { body: content(10) })).status, 405);

      const put: Store['put'] = async () => ({ created: true });
      const small = await open(t, kind, { store: { get, put }, protocols: [protocol], maxUploadBytes: 100 });
      t.is((await small.ask('PUT', path, { body: content(1000) })).status, skip ?? 413);
      t.is((await small.ask('PUT', path, { body: Readable.from([content(1000)]) })).status, skip ?? 413);
    });
  }

  test(`${kind}: a corrupt stream whose first bytes cannot be read is a miss`, async (t) => {
    const reports: ResponseReport[] = [];
    const onReport = (report: unknown): void => void reports.push(report as ResponseReport);
    const error = new HotblobError('ERR_HOTBLOB_CORRUPT', 'corrupt');
    const store: Store = { get: () => ({ kind: 'stream', size: 10, open: () => Promise.reject(error) }) };
    const { ask, handler } = await open(t, kind, { store, protocols: [nx()] });
    subscribe(RESPONSE_CHANNEL, onReport);
    t.teardown(() => unsubscribe(RESPONSE_CHANNEL, onReport));
    t.is((await ask('GET', '/v1/cache/1')).status, 404);
    const report = reports.find(({ sender }) => sender === handler);
    t.like(report, { status: 404, failure: 500, complete: false });
    t.is(report?.error, error);
  });

  test(`${kind}: wrong credentials, malformed requests and mistakes of the application stay errors`, async (t) => {
    const store: Store = { get: () => undefined, put: async () => ({ created: true }) };
    const protocols = [nx(), gradle()];
    const guarded = await open(t, kind, { store, protocols, access: () => 'none' });
    t.is((await guarded.ask('GET', '/v1/cache/1')).status, 401);
    t.is((await guarded.ask('PUT', `/gradle/${HASH}`, { body: content(10) })).status, 401);
    const { ask, handler } = await open(t, kind, { store, protocols });
    t.is((await ask('GET', '/gradle/not-a-key')).status, 400);
    t.is(
      (await ask('PUT', `/gradle/${HASH}`, { body: content(10), headers: { 'if-none-match': 'x', 'if-match': '"a"' } }))
        .status,
      412,
    );
    t.true(handler.stats().responseCounts.every(({ failure }) => failure === undefined));
  });
}
