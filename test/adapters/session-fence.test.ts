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

// What Node has been told to forget is still being sent (HTTP/2): these streams are ended by the server while their
// bytes are queued, and then everything is done to have their memory used for something else.

const SIZE = 4 * MIB;
const VICTIMS = Array.from({ length: 12 }, (_, index) => 2 * index + 1);
const OTHERS = VICTIMS.map((id) => id + 2 * VICTIMS.length);

interface Stage {
  readonly site: FileSite;
  readonly client: Frames;
  /** Ends the victims, in one go. */
  end(way: 'destroyed' | 'closed'): void;
  /** Lets the store find what the others have asked for. */
  release(): void;
}

/** One session whose client does not read: the victims fill it, the others have asked and wait for the store. */
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
      if (VICTIMS.includes(id)) streams.set(id, body as ServerHttp2Stream); // as it is on HTTP/2
    },
  });
  const client = await Frames.connect(t, site.server);
  client.socket.pause();
  for (const id of [...VICTIMS, ...OTHERS]) client.get(id, `/${id}`);
  await until('the victims have begun', () => streams.size === VICTIMS.length);
  await settled(() => site.handler.stats());
  const end = (way: 'destroyed' | 'closed'): void => {
    for (const stream of streams.values()) {
      if (way === 'destroyed') stream.destroy();
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

/** Reads all that is on its way and all that the others have asked for: every byte is that of its own artifact. */
async function assertIntact(t: ExecutionContext, { client, release }: Stage): Promise<void> {
  release();
  client.socket.resume();
  await until('the others are whole', () => OTHERS.every((id) => client.stream(id).isEnded));
  // Those that are closed with bytes queued end in one way or the other: that is Node's.
  const isOver = (id: number) => client.stream(id).isEnded || client.stream(id).resetCode !== undefined;
  await until('the victims are over', () => VICTIMS.every(isOver));
  for (const id of [...VICTIMS, ...OTHERS]) {
    const { body } = client.stream(id);
    assertBytes(t, body, pattern(SIZE, id).subarray(0, body.byteLength), `what came on stream ${id}`);
  }
  for (const id of OTHERS) t.is(client.stream(id).bytes, SIZE, `stream ${id} is whole`);
  const received = VICTIMS.reduce((sum, id) => sum + client.stream(id).bytes, 0);
  t.true(received > MIB, `${received} bytes of the victims are enough to tell`);
}

for (const kind of ['h2c', 'h2'] as const) {
  for (const only of ['copied', 'read'] as const) {
    for (const way of ['destroyed', 'closed'] as const) {
      const title = `${kind}, ${only}: buffers of streams that the server has ${way} are not filled again`;
      test.serial(`${title} before their bytes are on the wire`, async (t) => {
        const stage = await prepare(t, kind, only);
        const { site, end } = stage;
        const { handler } = site;
        const refill = writePattern(site.directory, 'refill', SIZE, 255);
        t.true(handler.stats().pooledBytes >= 256 * KIB, `${handler.stats().pooledBytes} bytes are queued`);
        end(way);
        if (way === 'destroyed') {
          await until('they are over', () => responsesOf(handler) === VICTIMS.length);
          t.true(handler.stats().pooledBytes >= 256 * KIB, 'what they have left is still on loan');
        }
        // Now other connections take what buffers they can get, and then the others on this one.
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

test.serial('what a session cannot get rid of is given back when its socket is closed', async (t) => {
  const { site, client, end } = await prepare(t, 'h2c', 'copied');
  end('destroyed');
  await until('they are over', () => responsesOf(site.handler) === VICTIMS.length);
  t.true(site.handler.stats().pooledBytes > 0, 'until then it is kept');
  client.socket.resetAndDestroy();
  await assertAllBack(t, site);
});

test.serial('mappings of streams that the server has destroyed stay until their bytes are on the wire', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const stage = await prepare(t, 'h2c', 'mapped');
  const { site, end } = stage;
  const { handler } = site;
  const { mappedBytes } = handler.stats();
  t.true(mappedBytes >= 256 * KIB, `${mappedBytes} bytes are queued`);
  end('destroyed');
  await until('they are over', () => responsesOf(handler) === VICTIMS.length);
  t.true(handler.stats().mappedBytes >= 256 * KIB, 'what they have left is still lent');
  // The files are closed and gone, so that nothing but what is being sent keeps their mappings.
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
  await until('nothing is mapped any more', () => {
    collect();
    return handler.stats().mappings === 0;
  });
  t.is(litter.length, 5);
});
