import diagnosticsChannel from 'node:diagnostics_channel';
import { EventEmitter, once } from 'node:events';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { Store } from '../../src/contract/store.js';
import type { ResponseReport } from '../../src/handler/response-record.js';
import { memoryStore } from '../../src/stores/memory.js';
import type { Kind } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';
import { open, storeOf } from './site.js';

const BYTES = content(300_000);
const NOTHING = { bytes: 0, mapped: 0, copied: 0, read: 0, stream: 0 };

/** Collects published reports. The tests are serial because all handlers of the process share the channel. */
function subscribe(t: ExecutionContext): { reports: ResponseReport[]; next(): Promise<ResponseReport> } {
  const reports: ResponseReport[] = [];
  const events = new EventEmitter();
  const listener = (message: unknown): void => {
    const published = message as ResponseReport; // the channel publishes only reports
    reports.push(published);
    events.emit('report', published);
  };
  diagnosticsChannel.subscribe('hotblob:response', listener);
  t.teardown(() => diagnosticsChannel.unsubscribe('hotblob:response', listener));
  const next = async (): Promise<ResponseReport> => {
    const signal = AbortSignal.timeout(60_000);
    const [published] = (await once(events, 'report', { signal })) as [ResponseReport];
    return published;
  };
  return { reports, next };
}

for (const kind of ['http', 'h2c', 'h2-compat', 'koa-http', 'express-https'] satisfies Kind[]) {
  test.serial(`${kind}: a report is published for each response of the handler`, async (t) => {
    const { reports, next } = subscribe(t);
    const { ask, handler, server } = await open(t, kind, { store: memoryStore(), mountPath: '/cache' });
    const cases = [
      ['PUT', 'key', 200, {}, 'upload'],
      ['GET', 'key', 200, { bytes: 300_000 }, 'read'],
      ['HEAD', 'key', 200, {}, 'read'],
      ['GET', 'missing', 404, {}, 'read'],
      ['POST', 'key', 405, {}, 'unsupported'],
      ['DELETE', 'key', 204, {}, 'delete'],
    ] as const;
    for (const [method, key, status, bytes, operation] of cases) {
      const published = next();
      await ask(method, `/cache/${key}`, method === 'PUT' ? { body: BYTES } : {});
      const { milliseconds, lookupMilliseconds, firstByteMilliseconds, exchange, sender, ...rest } = await published;
      const outcome = { status, failure: undefined, complete: true, error: undefined };
      const expected = {
        method,
        protocol: 'plain',
        namespace: undefined,
        receivedBytes: method === 'PUT' ? BYTES.byteLength : 0,
        operation,
        key,
        scope: 'default',
        subject: undefined,
        ...outcome,
      };
      t.deepEqual(rest, { ...expected, bytes: { ...NOTHING, ...bytes } });
      t.is(exchange.headers.host ?? exchange.headers[':authority'], `127.0.0.1:${server.port}`);
      t.is(sender, handler);
      t.true(milliseconds > 0 && milliseconds < 60_000);
      const isFound = operation === 'read' && status === 200;
      t.is(lookupMilliseconds !== undefined && lookupMilliseconds <= milliseconds, isFound);
      t.is(firstByteMilliseconds !== undefined && firstByteMilliseconds <= milliseconds, method === 'GET' && isFound);
    }
    const bad = next();
    await ask('GET', '/cache/a//b');
    t.like(await bad, { key: undefined, status: 400, complete: false });
    // Outside the mount path, no report is published.
    await ask('GET', '/elsewhere');
    t.is(reports.length, cases.length + 1);
  });

  test.serial(`${kind}: the report of an aborted response has the error that caused it`, async (t) => {
    const { next } = subscribe(t);
    const error = new Error('half way');
    const failing = function* (): Generator<Buffer> {
      yield BYTES.subarray(0, 10);
      throw error;
    };
    const { ask, handler } = await open(t, kind, {
      store: storeOf({ key: { kind: 'stream', size: 20, open: () => Readable.from(failing()) } }),
    });
    const published = next();
    await t.throwsAsync(ask('GET', '/key'));
    const { bytes, ...rest } = await published;
    t.like(rest, { method: 'GET', key: 'key', status: 200, complete: false });
    t.is(rest.error, error);
    t.is(bytes.stream, 10);
    t.like(handler.stats(), { responses: { 200: 1 }, pooledBytes: 0, mappedBytes: 0 });
  });

  test.serial(`${kind}: the report of a 500 has the error of the store, and the response is counted`, async (t) => {
    const { next } = subscribe(t);
    const error = new Error('the store has failed');
    const store: Store = { get: () => Promise.reject(error) };
    const { ask, handler } = await open(t, kind, { store });
    const published = next();
    t.is((await ask('GET', '/key')).status, 500);
    t.like(await published, { error, status: 500, failure: 500 });
    t.deepEqual(handler.stats().responses, { 500: 1 });
  });
}
