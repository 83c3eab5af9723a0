import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import type { HandlerOptions } from '../../src/options.js';
import { eventually, type Fixture, fixture, MIB, pattern, stalled } from './fixture.js';
import { FramesClient } from './frames-client.js';

const victim = pattern(8 * MIB, 1);
const refill = Buffer.alloc(8 * MIB, 0xff);

/** Streams whose client does not read, destroyed by the server with bytes still on their way. */
async function withDestroyedStreams(
  t: ExecutionContext,
  options: Partial<HandlerOptions>,
): Promise<Fixture & { readonly client: FramesClient }> {
  const site = await fixture(t, { victim, refill }, options);
  const client = await FramesClient.connect(site.h2cPort);
  t.teardown(() => client.destroy());
  client.pause();
  for (let count = 0; count < 12; count++) client.get('/victim');
  await eventually(t, 'the streams are open', () => site.streams.length === 12);
  await stalled(site.handler);
  const closed = Promise.all(site.streams.map((stream) => once(stream, 'close')));
  for (const stream of site.streams) stream.destroy();
  await closed;
  return { ...site, client };
}

/** Reads all that is still on its way: it is the victim's, byte for byte. */
async function assertIntact(t: ExecutionContext, client: FramesClient): Promise<void> {
  client.resume();
  await client.allOver();
  let received = 0;
  for (const { chunks } of client.streams.values()) {
    const bytes = Buffer.concat(chunks);
    received += bytes.byteLength;
    t.true(
      bytes.equals(victim.subarray(0, bytes.byteLength)),
      `${bytes.byteLength} bytes, some of them not the artifact's`,
    );
  }
  t.true(received > MIB, 'enough was on its way to tell');
}

test('a buffer of a destroyed stream is not filled again before its bytes are on the wire', async (t) => {
  const { handler, http1Port, client } = await withDestroyedStreams(t, { only: 'copied' });
  t.true(handler.stats().pooledBytes > 0, 'what a destroyed stream has left is still on loan');
  for (let round = 0; round < 4; round++) {
    const answers = Array.from({ length: 8 }, () => fetch(`http://127.0.0.1:${http1Port}/refill`));
    for (const answer of await Promise.all(answers)) t.true(refill.equals(Buffer.from(await answer.arrayBuffer())));
  }
  await assertIntact(t, client);
  await eventually(t, 'all is given back', () => handler.stats().pooledBytes === 0);
});

test('a mapping of a destroyed stream is not unmapped before its bytes are on the wire', async (t) => {
  setFlagsFromString('--expose-gc');
  const gc: () => void = runInNewContext('gc');
  const collect = async () => {
    for (let round = 0; round < 5; round++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const { handler, dir, client, streams } = await withDestroyedStreams(t, { only: 'mapped' });
  streams.length = 0;
  t.true(handler.stats().mappedBytes > 0);
  await unlink(join(dir, 'victim'));
  handler.close();
  await collect();
  t.is(handler.stats().mappings, 1);
  await assertIntact(t, client);
  await eventually(t, 'all is given back', () => handler.stats().mappedBytes === 0);
  client.destroy();
  for (let round = 0; round < 50 && handler.stats().mappings > 0; round++) await collect();
  t.is(handler.stats().mappings, 0);
});

test('what destroyed streams have left is given back when their connection ends', async (t) => {
  const { handler, client } = await withDestroyedStreams(t, { only: 'copied' });
  t.true(handler.stats().pooledBytes > 0);
  client.destroy();
  await eventually(t, 'all is given back', () => handler.stats().pooledBytes === 0);
});
