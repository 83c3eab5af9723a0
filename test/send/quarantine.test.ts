import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { streamListener } from '../../src/adapters/node.js';
import { createHandler, type Handler } from '../../src/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../support/files.js';
import { Frames } from '../support/frames.js';
import { settled, until } from '../support/poll.js';
import { assertBytes, filesOf, responsesOf } from '../support/site.js';

// What Node has been told to forget is still being sent (HTTP/2): these streams are ended by the server while their
// bytes are queued, and then everything is done to have their memory used for something else.

const VICTIMS = 12;
const OTHERS = 12;
const SIZE = 4 * MIB;

interface Stage {
  readonly handler: Handler;
  readonly client: Frames;
  /** The server's own streams, by number. */
  readonly streams: ReadonlyMap<number, ServerHttp2Stream>;
  readonly victims: readonly number[];
  readonly others: readonly number[];
  readonly bytes: ReadonlyMap<number, Buffer>;
  /** Lets the store find what the others have asked for. */
  release(): void;
}

/** One session whose client does not read: the victims fill it, the others have asked and wait for the store. */
async function prepare(t: ExecutionContext, only: 'mapped' | 'copied' | 'read'): Promise<Stage> {
  const directory = await temporaryDirectory(t);
  const bytes = new Map<number, Buffer>();
  const victims = Array.from({ length: VICTIMS }, (_, index) => 2 * index + 1);
  const others = Array.from({ length: OTHERS }, (_, index) => 2 * (VICTIMS + index) + 1);
  for (const id of [...victims, ...others]) bytes.set(id, writePattern(directory, `${id}`, SIZE, id));
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const files = filesOf(directory);
  const handler = createHandler({
    only,
    poolBytes: 16 * MIB,
    memory: fixedMemoryPressure('normal'),
    store: {
      async get(key, options) {
        if (others.includes(Number(key))) await released;
        return files.get(key, options);
      },
    },
  });
  const streams = new Map<number, ServerHttp2Stream>();
  const server = http2.createServer();
  server.on('stream', (stream) => streams.set(stream.id ?? 0, stream)).on('stream', streamListener(handler));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    handler.close();
    server.close();
  });
  const client = await Frames.connect(t, (server.address() as AddressInfo).port);
  for (const id of [...victims, ...others]) client.get(id, `/${id}`);
  await until('all have asked', () => streams.size === VICTIMS + OTHERS);
  client.socket.pause();
  await settled(() => handler.stats());
  return { handler, client, streams, victims, others, bytes, release };
}

function assertTrue(t: ExecutionContext, { client, victims, others, bytes }: Stage): void {
  for (const id of [...victims, ...others]) {
    const { body } = client.stream(id);
    const expected = bytes.get(id) ?? Buffer.alloc(0);
    assertBytes(t, body, expected.subarray(0, body.byteLength), `what came on stream ${id}`);
  }
  for (const id of others) t.is(client.stream(id).bytes, SIZE, `stream ${id} is whole`);
}

for (const only of ['copied', 'read'] as const) {
  for (const way of ['destroyed', 'closed'] as const) {
    test.serial(
      `${only}: buffers of streams that the server has ${way} are not filled again while they are sent`,
      async (t) => {
        const stage = await prepare(t, only);
        const { handler, client, streams, victims, release } = stage;
        const lent = handler.stats().pooledBytes;
        t.true(lent >= 256 * KIB, `${lent} bytes are queued`);
        for (const id of victims) {
          if (way === 'destroyed') streams.get(id)?.destroy();
          else streams.get(id)?.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
        }
        if (way === 'destroyed') await until('they are over', () => responsesOf(handler) === VICTIMS);
        // Now the others take what buffers they can get.
        release();
        await settled(() => handler.stats());
        client.socket.resume();
        await until('the others are whole', () => stage.others.every((id) => client.stream(id).isEnded));
        assertTrue(t, stage);
        await until('all is given back', () => handler.stats().pooledBytes === 0);
        client.socket.destroy();
      },
    );
  }
}

test.serial('mappings of streams that the server has destroyed stay while they are sent', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const stage = await prepare(t, 'mapped');
  const { handler, client, streams, victims, release } = stage;
  const { mappedBytes } = handler.stats();
  t.true(mappedBytes >= 256 * KIB, `${mappedBytes} bytes are queued`);
  for (const id of victims) streams.get(id)?.destroy();
  await until('they are over', () => responsesOf(handler) === VICTIMS);
  // The files are closed, so that nothing but what is being sent keeps their mappings.
  handler.close();
  const litter: Buffer[] = [];
  for (let round = 0; round < 5; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
    litter.push(Buffer.alloc(SIZE, 0xee));
  }
  t.true(handler.stats().mappings > 0);
  release();
  client.socket.resume();
  await until('the others are whole', () => stage.others.every((id) => client.stream(id).isEnded));
  assertTrue(t, stage);
  await until('all is given back', () => handler.stats().mappedBytes === 0);
  // And then they go.
  await until('nothing is mapped any more', async () => {
    collect();
    return handler.stats().mappings === 0;
  });
  t.is(litter.length, 5);
  client.socket.destroy();
});

test.serial('what a session cannot get rid of is given back when its socket is closed', async (t) => {
  const { handler, client, streams, victims } = await prepare(t, 'copied');
  for (const id of victims) streams.get(id)?.destroy();
  await until('they are over', () => responsesOf(handler) === VICTIMS);
  t.true(handler.stats().pooledBytes > 0, 'until then it is kept');
  client.socket.resetAndDestroy();
  await until('all is given back', () => handler.stats().pooledBytes === 0);
  t.is(handler.stats().pooledBytes, 0);
});
