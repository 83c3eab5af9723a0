import { Readable } from 'node:stream';
import test from 'ava';
import { RECORD_READ } from '../../../src/stores/record-read.js';
import { RemoteWriter } from '../../../src/stores/shared/remote-writer.js';
import type { WritableStore } from '../../../src/stores/shared/store-access.js';
import { content, refusal, until } from '../fixture.js';
import { pair } from './fixture.js';

const MIB = 1024 * 1024;
/** Limit that no test reaches. */
const NEVER_MS = 2 ** 30;

/** Returns a body of `length` bytes, and how many were read from it. */
function counted(length: number): { readonly body: Readable; readonly read: () => number } {
  let sent = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const body = new Readable({
    read() {
      sent += chunk.byteLength;
      this.push(sent <= length ? chunk : null);
    },
  });
  return { body, read: () => sent };
}

test('while the store accepts no bytes, the body is not read into the memory', async (t) => {
  let proceed = (): void => {};
  const { remote } = await pair(t, {
    async put(_key, body) {
      await new Promise<void>((resolve) => (proceed = resolve));
      let bytes = 0;
      for await (const chunk of body) bytes += chunk.length;
      return { created: bytes === 64 * MIB };
    },
  });
  const { body, read } = counted(64 * MIB);
  const upload = remote.put('key', body, { size: 64 * MIB });
  let last = -1;
  await until(() => {
    const isStill = read() === last;
    last = read();
    return isStill && last > 0;
  });
  t.true(read() < 4 * MIB, `${read()} bytes were read`);
  proceed();
  t.deepEqual(await upload, { created: true });
});

test('an upload whose signal is aborted while the connection opens is not sent', async (t) => {
  let uploads = 0;
  const { remote } = await pair(t, {
    async put() {
      uploads++;
      return { created: true };
    },
  });
  const controller = new AbortController();
  const upload = remote.putBytes('key', content(10), { signal: controller.signal });
  const reason = new Error('aborted');
  controller.abort(reason);
  t.is(await t.throwsAsync(upload), reason);
  await remote.putBytes('other', content(10), {}); // on another connection, later
  t.is(uploads, 1);
});

test('an upload that the store refuses at once ends at once, while its body still arrives', async (t) => {
  const { remote, sockets } = await pair(t, {
    async put(_key, body) {
      body.destroy();
      throw new Error('refused');
    },
  });
  for (const size of [64 * MIB, undefined]) {
    const { body, read } = counted(64 * MIB);
    await t.throwsAsync(remote.put('key', body, { size }), { message: 'refused' });
    t.true(read() < 32 * MIB);
  }
  const stalled = new Readable({ read() {} });
  await t.throwsAsync(remote.put('key', stalled, {}), { message: 'refused' });
  await until(() => sockets.slice(1).every((socket) => socket.destroyed));
});

test('an upload is not sent on a connection that the writer has not accepted', async (t) => {
  const { remote, writer } = await pair(t, { put: async () => ({ created: true }) });
  writer.accept = (socket) => void socket.destroy(); // like a process without descriptors
  const body = Readable.from([content(10)]);
  await t.throwsAsync(remote.put('key', body, {}), refusal('ERR_HOTBLOB_WRITER_GONE'));
  t.false(body.readableDidRead);
  t.false(remote.isEnding);
});

test('reads that the store cannot record, because it is closed, do not end the process', async (t) => {
  const store: WritableStore & { [RECORD_READ](key: string): void } = {
    get: () => undefined,
    put: async () => ({ created: true }),
    delete: async () => true,
    purge: async () => ({ artifacts: 0, bytes: 0 }),
    stats: () => ({}),
    [RECORD_READ]() {
      throw new Error('closed');
    },
  };
  const { remote, sockets } = await pair(t, Promise.resolve(store));
  remote.sendReads(['key']);
  await until(() => sockets[0]?.destroyed === true);
  t.pass();
});

test('drain() waits for uploads of readers, and they send no more', async (t) => {
  let finish = (): void => {};
  let count = 0;
  const { writer, remote, connect } = await pair(t, {
    async put() {
      count++;
      await new Promise<void>((resolve) => (finish = resolve));
      return { created: true };
    },
  });
  const upload = remote.put('key', Readable.from([content(10)]), {});
  await until(() => count === 1);
  const draining = writer.drain({ acceptMs: 0, finishMs: NEVER_MS });
  await until(() => remote.isEnding);
  const body = Readable.from([content(10)]);
  await t.throwsAsync(remote.put('other', body, {}), refusal('ERR_HOTBLOB_WRITER_GONE'));
  t.false(body.readableDidRead);
  const events = { onEnding() {}, onClosed() {} };
  t.is(await RemoteWriter.attach(connect, new AbortController().signal, events), undefined);
  finish();
  await upload;
  await draining;
  t.is(count, 1);
});

test('drain() accepts requests until a slow upload has completed', async (t) => {
  const finish: (() => void)[] = [];
  const { writer, remote } = await pair(t, {
    async put(key) {
      if (key === 'slow') await new Promise<void>((resolve) => finish.push(resolve));
      return { created: true };
    },
  });
  const upload = remote.put('slow', Readable.from([content(10)]), {});
  await until(() => finish.length === 1);
  const draining = writer.drain({ acceptMs: NEVER_MS, finishMs: NEVER_MS });
  for (let count = 0; count < 20; count++) {
    t.deepEqual(await remote.put(`key-${count}`, Readable.from([content(10)]), {}), { created: true });
    t.false(remote.isEnding);
  }
  finish[0]?.();
  t.deepEqual(await upload, { created: true });
  await draining;
  t.true(remote.isEnding);
});

test('drain() cancels an upload that exceeds both limits', async (t) => {
  let reason: unknown;
  let hasBegun = false;
  const { writer, remote } = await pair(t, {
    async put(_key, _body, { signal }) {
      hasBegun = true;
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
      reason = signal?.reason;
      throw reason;
    },
  });
  const upload = remote.put('key', new Readable({ read() {} }), {});
  const failed = t.throwsAsync(upload, refusal('ERR_HOTBLOB_WRITER_GONE'));
  await until(() => hasBegun);
  await writer.drain({ acceptMs: 10, finishMs: 10 });
  await failed;
  t.true(reason instanceof Error);
});
