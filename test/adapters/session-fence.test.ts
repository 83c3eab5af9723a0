import { rmSync } from 'node:fs';
import http2, { type ServerHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { assertAllBack, assertBytes, type FileSite, filesOf, openFileSite, responsesOf } from '../helpers/file-site.js';
import { KIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { settled, until } from '../helpers/poll.js';

// Node keeps sending queued bytes of an HTTP/2 stream after the server has destroyed or closed it. In these tests the server
// ends streams while their bytes are queued, then other downloads request buffers. No buffer may be reused too early.

const SIZE = 4 * MIB;
const VICTIMS = Array.from({ length: 12 }, (_, index) => 2 * index + 1);
const OTHERS = VICTIMS.map((id) => id + 2 * VICTIMS.length);

interface Stage {
  readonly site: FileSite;
  readonly client: Frames;
  /** Ends all victim streams synchronously. */
  end(method: 'destroyed' | 'closed'): void;
  /** Lets the store resolve the lookups of the other streams. */
  release(): void;
}

/** Opens a session whose client does not read. The victims fill its queues, and the lookups of the others are pending. */
async function prepare(t: ExecutionContext, kind: 'h2c' | 'h2', only: 'mapped' | 'copied' | 'read'): Promise<Stage> {
  const directory = await temporaryDirectory(t);
  for (const id of [...VICTIMS, ...OTHERS]) writePattern(directory, `${id}`, SIZE, id);
  const { promise: released, resolve: release } = withResolvers();
  const files = filesOf(directory);
  const streams = new Map<number, ServerHttp2Stream>();
  const site = await openFileSite(t, kind, {
    directory,
    only,
    maxPooledBytes: 16 * MIB,
    store: {
      async get(key, options) {
        if (OTHERS.includes(Number(key))) await released;
        return files.get(key, options);
      },
    },
    onExchange({ url, body }) {
      const id = Number(url.slice(1));
      if (VICTIMS.includes(id)) streams.set(id, body as ServerHttp2Stream); // the body of an HTTP/2 exchange
    },
  });
  const client = await Frames.connect(t, site.server);
  client.socket.pause();
  for (const id of [...VICTIMS, ...OTHERS]) client.get(id, `/${id}`);
  await until('the victims have begun', () => streams.size === VICTIMS.length);
  await settled(() => site.handler.stats());
  const end = (method: 'destroyed' | 'closed'): void => {
    for (const stream of streams.values()) {
      if (method === 'destroyed') stream.destroy();
      else stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    }
    streams.clear();
  };
  return { site, client, end, release };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Reads everything in flight and asserts that every byte belongs to the artifact of its stream. */
async function assertIntact(t: ExecutionContext, { client, release }: Stage): Promise<void> {
  release();
  client.socket.resume();
  await until('the other streams are complete', () => OTHERS.every((id) => client.stream(id).isEnded));
  // Node ends a stream that is closed with bytes queued either with END_STREAM or with RST_STREAM.
  const isOver = (id: number) => client.stream(id).isEnded || client.stream(id).resetCode !== undefined;
  await until('the victims are over', () => VICTIMS.every(isOver));
  for (const id of [...VICTIMS, ...OTHERS]) {
    const { body } = client.stream(id);
    assertBytes(t, body, pattern(SIZE, id).subarray(0, body.byteLength), `bytes of stream ${id}`);
  }
  for (const id of OTHERS) t.is(client.stream(id).bytes, SIZE, `stream ${id} is complete`);
  const received = VICTIMS.reduce((sum, id) => sum + client.stream(id).bytes, 0);
  t.true(received > MIB, `${received} bytes of the victims are not enough for the assertion`);
}

for (const kind of ['h2c', 'h2'] as const) {
  for (const only of ['copied', 'read'] as const) {
    for (const method of ['destroyed', 'closed'] as const) {
      const title = `${kind}, ${only}: buffers of streams that the server has ${method} are not reused`;
      test.serial(`${title} before their bytes are sent`, async (t) => {
        const stage = await prepare(t, kind, only);
        const { site, end } = stage;
        const { handler } = site;
        const refill = writePattern(site.directory, 'refill', SIZE, 255);
        t.true(handler.stats().pooledBytes >= 256 * KIB, `${handler.stats().pooledBytes} bytes are queued`);
        end(method);
        if (method === 'destroyed') {
          await until('the victims are over', () => responsesOf(handler) === VICTIMS.length);
          t.true(handler.stats().pooledBytes >= 256 * KIB, 'their queued buffers are still leased');
        }
        // Other connections request buffers first, then the other streams of this session.
        for (let round = 0; round < 3; round++) {
          const answers = await Promise.all(Array.from({ length: 8 }, () => site.get('refill')));
          for (const { body } of answers) assertBytes(t, body, refill);
        }
        await assertIntact(t, stage);
        await assertAllBack(t, site);
      });
    }
  }
}

test.serial('buffers that a session cannot send are released when its socket closes', async (t) => {
  const { site, client, end } = await prepare(t, 'h2c', 'copied');
  end('destroyed');
  await until('the victims are over', () => responsesOf(site.handler) === VICTIMS.length);
  t.true(site.handler.stats().pooledBytes > 0, 'the buffers are leased until the socket closes');
  client.socket.resetAndDestroy();
  await assertAllBack(t, site);
});

test.serial('mappings of streams that the server has destroyed are kept until their bytes are sent', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const stage = await prepare(t, 'h2c', 'mapped');
  const { site, end } = stage;
  const { handler } = site;
  const { mappedBytes } = handler.stats();
  t.true(mappedBytes >= 256 * KIB, `${mappedBytes} bytes are queued`);
  end('destroyed');
  await until('the victims are over', () => responsesOf(handler) === VICTIMS.length);
  t.true(handler.stats().mappedBytes >= 256 * KIB, 'their queued bytes are still mapped');
  // The files are closed and deleted, so that only queued bytes keep the mappings alive.
  handler.close();
  for (const id of VICTIMS) rmSync(join(site.directory, `${id}`));
  const litter: Buffer[] = [];
  for (let round = 0; round < 5; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
    litter.push(Buffer.alloc(SIZE, 0xee));
  }
  t.is(handler.stats().mappings, VICTIMS.length);
  await assertIntact(t, stage);
  await assertAllBack(t, site);
  await until('no mapping is left', () => {
    collect();
    return handler.stats().mappings === 0;
  });
  t.is(litter.length, 5);
});
