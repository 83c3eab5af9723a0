import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, openSync, readSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { cachedPages, pageMap } from '../../src/page-cache/cached-pages.js';
import { openQuietly } from '../../src/page-cache/open-quietly.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';

/** Older than what it was changed, so that `relatime` writes the next access down. */
function age(path: string): void {
  utimesSync(path, 1000, 2000);
}

test.serial('looking at a file is no use of it', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'artifact');
  const bytes = writePattern(directory, 'artifact', 100_000, 1);
  age(path);
  const file = await openQuietly(path);
  const { bytesRead, buffer } = await file.read(Buffer.alloc(bytes.byteLength), 0, bytes.byteLength, 0);
  await file.close();
  t.is(bytesRead, bytes.byteLength);
  t.true(bytes.equals(buffer));
  t.truthy(await cachedPages(path));
  t.truthy(await pageMap(path));
  t.is(statSync(path).atimeMs, 1_000_000);

  const fd = openSync(path, 'r');
  readSync(fd, Buffer.alloc(1));
  closeSync(fd);
  // Where accesses are written down at all, this one was.
  const options = execFileSync('findmnt', ['--noheadings', '--output=OPTIONS', '--target', directory]).toString();
  t.is(statSync(path).atimeMs > 1_000_000, !/\bnoatime\b/.test(options));
});

// Serial: the user of a process is that of all of its tests.
testWith(test.serial, 'root')(
  "somebody else's file can be looked at too, and what cannot be opened says why",
  async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    writePattern(directory, 'artifact', 10, 1);
    await t.throwsAsync(openQuietly(join(directory, 'absent')), { code: 'ENOENT' });
    chmodSync(directory, 0o755);
    chmodSync(path, 0o644);
    chownSync(path, 1, 1);
    process.seteuid?.(65534);
    try {
      const file = await openQuietly(path);
      t.is((await file.stat()).size, 10);
      await file.close();
    } finally {
      process.seteuid?.(0);
    }
  },
);
