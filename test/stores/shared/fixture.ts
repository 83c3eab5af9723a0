import { readdir } from 'node:fs/promises';
import { createServer, connect as openSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { RemoteWriter } from '../../../src/stores/shared/remote-writer.js';
import { type SharedStore, type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import type { WritableStore } from '../../../src/stores/shared/store-access.js';
import { Writer } from '../../../src/stores/shared/writer.js';
import { temporaryDirectory } from '../fixture.js';
import { SharingProcess } from './process.js';

/** Starts a process that writes, and opens the store in this process, which reads. */
export async function share(
  t: ExecutionContext,
  options: SharedStoreOptions,
  maxDescriptors?: number,
): Promise<{ readonly dir: string; readonly writer: SharingProcess; readonly store: SharedStore }> {
  const dir = await temporaryDirectory(t);
  const writer = await SharingProcess.start(t, dir, options, maxDescriptors);
  const store = await sharedStore(dir, options);
  t.teardown(() => store.close());
  t.false(store.isWriter);
  return { dir, writer, store };
}

/** Connects to the socket of the writer as a program that does not know its messages. */
export async function foreignConnection(t: ExecutionContext, dir: string): Promise<Socket> {
  const names = await readdir(dir, { recursive: true });
  const name = names.find((each) => each.includes('writer-shared') && each.endsWith('.socket'));
  const socket = openSocket({ path: join(dir, name ?? ''), allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {}); // the writer may reset the connection
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

/** Connects a reader and a writer within this process, over a real socket. The store is that of the test. */
export async function pair(
  t: ExecutionContext,
  store: Partial<WritableStore> | Promise<WritableStore>,
): Promise<{
  readonly writer: Writer;
  readonly remote: RemoteWriter;
  readonly sockets: Socket[];
  readonly connect: () => Promise<Socket>;
}> {
  const dir = await temporaryDirectory(t);
  const rest = { get: notExpected, put: notExpected, delete: notExpected, purge: notExpected, stats: () => ({}) };
  const writer = new Writer(store instanceof Promise ? store : Promise.resolve({ ...rest, ...store }), dir);
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    writer.accept(socket);
  });
  const path = join(dir, 'socket');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const connect = async () => {
    const socket = openSocket({ path, allowHalfOpen: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };
  const events = { onEnding() {}, onClosed() {} };
  const remote = await RemoteWriter.attach(connect, new AbortController().signal, events);
  if (remote === undefined) throw new Error('the reader could not attach');
  t.teardown(() => {
    remote.close();
    writer.close();
    server.close();
  });
  return { writer, remote, sockets, connect };
}

async function notExpected(): Promise<never> {
  throw new Error('not expected');
}
