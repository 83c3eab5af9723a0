import {
  appendFileSync,
  linkSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite, WIRES } from '../helpers/file-site.js';
import { MIB, pattern, writePattern } from '../helpers/files.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';

for (const kind of WIRES) {
  for (const only of [undefined, 'copied', 'read'] as const) {
    test(`${kind}, ${only ?? 'every source'}: a file that is truncated during a download ends this response and no other`, async (t) => {
      const site = await openFileSite(t, kind, { only, artifact: { immutable: false } });
      writePattern(site.directory, 'victim', 48 * MIB, 1);
      const other = writePattern(site.directory, 'other', 24 * MIB, 2);
      const victim = await startPaused(t, site.server, '/victim');
      const neighbour = await startPaused(t, site.server, '/other');
      await settled(() => site.handler.stats());
      truncateSync(join(site.directory, 'victim'), 0);
      await t.throwsAsync(victim.finish());
      assertBytes(t, await neighbour.finish(), other);
      assertBytes(t, (await site.get('other')).body, other);
      t.is(site.handler.stats().sent.mapped.bytes, 0);
      await assertAllBack(t, site);
    });
  }
}

/** Changes of a mutable file of 24 MiB while it is sent. `isRewritten`: the response must not be complete. */
const CHANGES: readonly { title: string; isRewritten: boolean; change(path: string): void }[] = [
  { title: 'rewritten in place, its size and time kept', isRewritten: true, change: rewriteSilently },
  {
    title: 'rewritten in place with more bytes',
    isRewritten: true,
    change: (path) => writeFileSync(path, pattern(25 * MIB, 2)),
  },
  // A rename changes the same fields of a file as a rewrite that keeps size and time.
  { title: 'renamed', isRewritten: true, change: (path) => renameSync(path, `${path}-too`) },
  { title: 'linked', isRewritten: false, change: (path) => linkSync(path, `${path}-too`) },
  { title: 'deleted', isRewritten: false, change: unlinkSync },
];

/** Rewrites a file like `cp -p` and `rsync --inplace -t`. */
function rewriteSilently(path: string): void {
  const { atime, mtime } = statSync(path);
  writeFileSync(path, pattern(24 * MIB, 2));
  utimesSync(path, atime, mtime);
}

for (const kind of WIRES) {
  for (const { title, isRewritten, change } of CHANGES) {
    test(`${kind}: the response is ${isRewritten ? 'reset' : 'complete'} if a mutable file was ${title}`, async (t) => {
      const site = await openFileSite(t, kind, { artifact: { immutable: false } });
      const path = join(site.directory, 'file');
      const expected = writePattern(site.directory, 'file', 24 * MIB, 1);
      // The precision of utimes().
      utimesSync(path, 1, 1);
      const download = await startPaused(t, site.server, '/file');
      await settled(() => site.handler.stats());
      change(path);
      if (isRewritten) await t.throwsAsync(download.finish());
      else assertBytes(t, await download.finish(), expected);
      await assertAllBack(t, site);
    });
  }
}

test('a part of a mutable file is sent completely if bytes are appended after it', async (t) => {
  const site = await openFileSite(t, 'http', { artifact: { immutable: false, length: 24 * MIB } });
  const expected = writePattern(site.directory, 'file', 24 * MIB, 1);
  const download = await startPaused(t, site.server, '/file');
  await settled(() => site.handler.stats());
  appendFileSync(join(site.directory, 'file'), 'more');
  assertBytes(t, await download.finish(), expected);
  await assertAllBack(t, site);
});

for (const kind of ['http', 'h2c'] as const) {
  test(`${kind}: the truncation of an immutable file is detected before the next window is mapped`, async (t) => {
    const site = await openFileSite(t, kind);
    const victimBytes = writePattern(site.directory, 'victim', 48 * MIB, 1);
    const other = writePattern(site.directory, 'other', 2 * MIB, 2);
    assertBytes(t, (await site.get('victim')).body, victimBytes);
    const victim = await startPaused(t, site.server, '/victim');
    await settled(() => site.handler.stats());
    const sentBefore = (site.sent().mapped ?? 0) - 48 * MIB;
    t.true(sentBefore < 40 * MIB, `${sentBefore} bytes were sent to a client that does not read`);
    // Beyond the bytes in flight: the kernel may already have accepted those.
    truncateSync(join(site.directory, 'victim'), 44 * MIB + 100);
    await t.throwsAsync(victim.finish());
    t.true((site.handler.stats().unmapped.truncated ?? 0) >= 1);
    assertBytes(t, (await site.get('other')).body, other);
    await assertAllBack(t, site);
  });
}

test('a file that is truncated between two downloads has a new length and entity tag', async (t) => {
  for (const immutable of [true, false]) {
    const site = await openFileSite(t, 'http', { artifact: { immutable } });
    const before = writePattern(site.directory, 'file', 2 * MIB, 1);
    const first = await site.get('file');
    assertBytes(t, first.body, before);
    truncateSync(join(site.directory, 'file'), MIB + 5);
    // Until the next check of the path the handler announces the old length, and cannot send all of it.
    const second = await site.get('file').catch(() => undefined);
    if (second !== undefined) assertBytes(t, second.body, before.subarray(0, MIB + 5));
    await until('the path is checked again', async () => {
      const { headers } = await site.get('file', { method: 'HEAD' });
      return headers['content-length'] === `${MIB + 5}`;
    });
    const third = await site.get('file');
    assertBytes(t, third.body, before.subarray(0, MIB + 5));
    t.not(third.headers.etag, first.headers.etag);
    await assertAllBack(t, site);
  }
});
