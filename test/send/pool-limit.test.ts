import type { ExecutionContext } from 'ava';
import test from 'ava';
import { assertAllBack, assertBytes, type FileSite, openFileSite } from '../helpers/file-site.js';
import { KIB, MIB, pattern, writePattern } from '../helpers/files.js';
import { type PausedDownload, startPaused } from '../helpers/paused.js';
import { settled } from '../helpers/poll.js';

const SIZE = 8 * MIB;

/** Starts a server whose pool of 1 MiB is on loan to clients that do not read. */
async function startExhausted(
  t: ExecutionContext,
  only: 'copied' | 'read',
): Promise<{ site: FileSite; stalled: PausedDownload[] }> {
  const site = await openFileSite(t, 'http', { only, maxPooledBytes: MIB });
  writePattern(site.directory, 'large', SIZE, 1);
  writePattern(site.directory, 'small', 3000, 2);
  const stalled: PausedDownload[] = [];
  while (site.handler.stats().pooledBytes < MIB && stalled.length < 90) {
    stalled.push(...(await Promise.all(Array.from({ length: 10 }, () => startPaused(t, site.server, '/large')))));
    await settled(() => site.handler.stats());
  }
  t.is(site.handler.stats().pooledBytes, MIB, 'the pool is exhausted');
  return { site, stalled };
}

for (const only of ['copied', 'read'] as const) {
  test(`${only}: if no buffer is free, a request waits for 5 s and gets 503, and responses that have started complete`, async (t) => {
    const { site, stalled } = await startExhausted(t, only);
    const startedAt = performance.now();
    const refused = await site.get('small');
    const waitedMs = performance.now() - startedAt;
    t.is(refused.status, 503);
    t.regex(String(refused.headers['retry-after']), /^(?:[1-9]|10)$/);
    t.true(waitedMs > 4900, `${waitedMs} ms`);
    t.true(site.handler.stats().pooledBytes <= MIB);
    // Disconnecting clients release buffers for the waiting request, which comes after the started responses in the queue.
    const waiting = site.get('small');
    await settled(() => site.handler.stats());
    for (const download of stalled.splice(8)) download.leave();
    const served = await waiting;
    t.is(served.status, 200);
    assertBytes(t, served.body, pattern(3000, 2));
    // After the headers, a response waits for a buffer without a limit.
    const expected = pattern(SIZE, 1);
    const bodies = await Promise.all(stalled.map((download) => download.finish()));
    for (const body of bodies) assertBytes(t, body, expected);
    await assertAllBack(t, site);
  });
}

test('a client that disconnects while its request waits for a buffer takes no buffer', async (t) => {
  const { site, stalled } = await startExhausted(t, 'copied');
  const controller = new AbortController();
  const aborted = Array.from({ length: 20 }, () => site.get('small', { signal: controller.signal }));
  const remaining = site.get('small');
  await settled(() => site.handler.stats());
  controller.abort();
  for (const request of aborted) await t.throwsAsync(request);
  for (const download of stalled) download.leave();
  t.is((await remaining).status, 200);
  t.true(site.handler.stats().pooledBytes <= 256 * KIB);
  await assertAllBack(t, site);
});
