import { EventEmitter, once } from 'node:events';
import { truncate, unlink, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { Artifact, ByteRange } from '../../src/contract/artifact.js';
import { can, type Kind } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { assertBody, assertError, open, productTestIn, type Scope, type Site, storeOf } from './site.js';

const BYTES = content(700_001);

/** Returns a stream of `bytes` with empty chunks in between. It fails with `error`, if given, after the last chunk. */
function streamOf(bytes: Buffer, error?: Error): Readable {
  return Readable.from(
    (function* () {
      for (let start = 0; start < bytes.byteLength; start += 70_001) {
        yield Buffer.alloc(0);
        yield bytes.subarray(start, start + 70_001);
      }
      if (error) throw error;
    })(),
    { objectMode: false },
  );
}

async function assertAborted(t: ExecutionContext, { ask }: Site, path: string): Promise<void> {
  const outcome = await ask('GET', path).then(
    ({ status, body }) => `${status} with ${body.byteLength} bytes`,
    (error: Error) => (/no response to/.test(error.message) ? error.message : 'aborted'),
  );
  t.is(outcome, 'aborted', path);
}

export function bodies(kind: Kind, scope: Scope): void {
  const productTest = productTestIn(scope);
  test(`${kind}: a file and its regions are sent from every source, whole and in ranges`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const regions: [number | undefined, number | undefined][] = [
      [undefined, undefined],
      [0, 0],
      [0, 1],
      [4095, 2],
      [1, 700_000],
      [12_345, 300_001],
      [65_536, 65_536],
      [262_143, undefined],
      [700_001, undefined],
      [undefined, 99_999],
    ];
    for (const only of ['mapped', 'copied', 'read', undefined] as const) {
      const artifacts = regions.map(([offset, length], index): [string, Artifact] => [
        String(index),
        { kind: 'file', path, offset, length, immutable: true },
      ]);
      const site = await open(t, kind, { store: storeOf(Object.fromEntries(artifacts)), only, map: 'always' });
      for (const [index, [offset = 0, length = BYTES.byteLength - offset]] of regions.entries()) {
        const { status, headers, body } = await site.ask('GET', `/${index}`);
        t.is(status, 200);
        t.is(headers['content-length'], String(length));
        assertBody(t, body, BYTES.subarray(offset, offset + length));
        if (length < 10) continue;
        const range = await site.ask('GET', `/${index}`, { headers: { range: `bytes=5-${length - 3}` } });
        t.is(range.status, 206);
        t.is(range.headers['content-range'], `bytes 5-${length - 3}/${length}`);
        assertBody(t, range.body, BYTES.subarray(offset + 5, offset + length - 2));
      }
      const { sent, mapper } = site.handler.stats();
      if (only === 'read') t.is(sent.mapped.windows + sent.copied.windows, 0);
      if (only === 'mapped') t.is(sent.mapped.windows > 0, mapper !== undefined && can(kind, 'map'));
    }
  });

  productTest(
    `${kind}: each region of a file has its own entity tag, and a tag of the artifact takes precedence`,
    async (t) => {
      const path = `${await temporaryDirectory(t)}/file`;
      await writeFile(path, 'first version');
      const { ask } = await open(t, kind, {
        store: storeOf({
          whole: { kind: 'file', path },
          head: { kind: 'file', path, length: 5 },
          tail: { kind: 'file', path, offset: 6 },
          named: { kind: 'file', path, etag: '"named"' },
        }),
      });
      const tags = await Promise.all(
        ['/whole', '/head', '/tail'].map(async (key) => (await ask('GET', key)).headers.etag),
      );
      t.is(new Set(tags).size, 3);
      for (const tag of tags) t.regex(String(tag), /^"[^"]+"$/);
      t.is((await ask('GET', '/named')).headers.etag, '"named"');
      t.is((await ask('GET', '/whole', { headers: { 'if-none-match': String(tags[0]) } })).status, 304);
    },
  );

  productTest(`${kind}: a missing file, a directory and a file outside the root are answered with 404`, async (t) => {
    const directory = await temporaryDirectory(t);
    const path = `${directory}/file`;
    await writeFile(path, BYTES);
    const { ask } = await open(t, kind, {
      store: storeOf({
        none: { kind: 'file', path: `${directory}/none` },
        below: { kind: 'file', path: `${path}/below` },
        directory: { kind: 'file', path: directory },
        outside: { kind: 'file', path: process.execPath, root: directory },
        vanishing: { kind: 'file', path },
      }),
    });
    for (const key of ['none', 'below', 'directory', 'outside']) assertError(t, await ask('GET', `/${key}`), 404);
    await unlink(path);
    assertError(t, await ask('GET', '/vanishing'), 404);
  });

  productTest(`${kind}: a file that is shorter than its region is answered with 500`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    await truncate(path, 1000);
    const { ask } = await open(t, kind, { store: storeOf({ key: { kind: 'file', path, length: 1001 } }) });
    assertError(t, await ask('GET', '/key'), 500);
  });

  test(`${kind}: bytes and streams are sent whole and in ranges`, async (t) => {
    const ranges: (ByteRange | undefined)[] = [];
    const view = new Uint8Array(BYTES.buffer, BYTES.byteOffset, BYTES.byteLength);
    const { ask } = await open(t, kind, {
      store: storeOf({
        bytes: { kind: 'bytes', bytes: view },
        stream: {
          kind: 'stream',
          size: BYTES.byteLength,
          open: async (range) => {
            ranges.push(range);
            return streamOf(BYTES.subarray(range?.start, range?.end));
          },
        },
      }),
    });
    for (const key of ['/bytes', '/stream']) {
      const whole = await ask('GET', key);
      t.is(whole.headers['content-length'], String(BYTES.byteLength));
      assertBody(t, whole.body, BYTES);
      const part = await ask('GET', key, { headers: { range: 'bytes=300000-' } });
      t.is(part.status, 206);
      assertBody(t, part.body, BYTES.subarray(300_000));
    }
    t.deepEqual(ranges, [undefined, { start: 300_000, end: BYTES.byteLength }]);
  });

  test(`${kind}: a stream of unknown size is sent whole and without Content-Length, also for a range request`, async (t) => {
    const opened: (ByteRange | undefined)[] = [];
    const openWhole = (range: ByteRange | undefined): Readable => {
      opened.push(range);
      return streamOf(BYTES);
    };
    const { ask } = await open(t, kind, {
      store: storeOf({
        key: { kind: 'stream', open: openWhole },
        empty: { kind: 'stream', open: () => Readable.from([]) },
      }),
    });
    const { status, headers, body } = await ask('GET', '/key', { headers: { range: 'bytes=0-9' } });
    t.is(status, 200);
    t.is(headers['content-length'], undefined);
    t.is(headers['accept-ranges'], undefined);
    assertBody(t, body, BYTES);
    t.deepEqual(opened, [undefined]);
    t.like(await ask('GET', '/empty'), { status: 200, body: Buffer.alloc(0) });
  });

  test(`${kind}: the response is aborted if the stream fails, ends early or exceeds its size`, async (t) => {
    const half = BYTES.subarray(0, 350_000);
    const size = BYTES.byteLength;
    const site = await open(t, kind, {
      store: storeOf({
        failing: { kind: 'stream', size, open: () => streamOf(half, new Error('half way')) },
        failingUnknown: { kind: 'stream', open: () => streamOf(half, new Error('half way')) },
        short: { kind: 'stream', size, open: () => streamOf(half) },
        long: { kind: 'stream', size: 350_000, open: () => streamOf(BYTES) },
        text: { kind: 'stream', size, open: () => Readable.from([half, 'text']) },
        good: { kind: 'stream', size, open: () => streamOf(BYTES) },
      }),
    });
    for (const key of ['failing', 'failingUnknown', 'short', 'long', 'text']) await assertAborted(t, site, `/${key}`);
    assertBody(t, (await site.ask('GET', '/good')).body, BYTES);
  });

  test(`${kind}: a stream that fails before its first byte is answered with 500`, async (t) => {
    const fail = (): never => {
      throw new Error('cannot open');
    };
    const { ask } = await open(t, kind, {
      store: storeOf({
        throws: { kind: 'stream', size: 9, open: fail },
        rejects: { kind: 'stream', size: 9, open: async () => fail() },
        errors: { kind: 'stream', size: 9, open: () => streamOf(Buffer.alloc(0), new Error('no first byte')) },
        short: { kind: 'stream', size: 9, open: () => Readable.from([]) },
      }),
    });
    for (const key of ['throws', 'rejects', 'errors', 'short']) assertError(t, await ask('GET', `/${key}`), 500);
  });

  test(`${kind}: when the client disconnects, the stream is destroyed and its signal is aborted`, async (t) => {
    // The second stream stops after one chunk, so that no failing write reveals that the client has disconnected.
    for (const chunks of [Number.POSITIVE_INFINITY, 1]) {
      const leaving = new AbortController();
      const events = new EventEmitter();
      const over = Promise.all([once(events, 'aborted'), once(events, 'destroyed')]);
      const artifact: Artifact = {
        kind: 'stream',
        open(_range, { signal }) {
          signal.addEventListener('abort', () => events.emit('aborted'));
          let given = 0;
          const stream = new Readable({
            read() {
              if (given++ < chunks) this.push(Buffer.alloc(65_536));
              setImmediate(() => leaving.abort());
            },
          });
          return stream.on('close', () => events.emit('destroyed'));
        },
      };
      const { ask } = await open(t, kind, { store: storeOf({ key: artifact }) });
      await t.throwsAsync(ask('GET', '/key', { signal: leaving.signal }));
      await over;
    }
  });

  test(`${kind}: an empty artifact is sent with Content-Length: 0`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, '');
    const { ask } = await open(t, kind, {
      store: storeOf({
        bytes: { kind: 'bytes', bytes: new Uint8Array(0) },
        file: { kind: 'file', path, immutable: true },
        stream: { kind: 'stream', size: 0, open: () => Readable.from([]) },
      }),
    });
    for (const key of ['bytes', 'file', 'stream']) {
      const { status, headers, body } = await ask('GET', `/${key}`);
      t.is(status, 200, key);
      t.is(headers['content-length'], '0', key);
      t.is(body.byteLength, 0, key);
    }
  });
}
