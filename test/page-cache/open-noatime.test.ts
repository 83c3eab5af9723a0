import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, openSync, readSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { cachedPages, pageMap } from '../../src/page-cache/cached-pages.js';
import { openNoatime } from '../../src/page-cache/open-noatime.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';

/** Sets an access time before the modification time, so that `relatime` records the next access (mount(8)). */
function setOldAccessTime(path: string): void {
  utimesSync(path, 1000, 2000);
}

test.serial('inspecting a file does not change its access time', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'artifact');
  const bytes = writePattern(directory, 'artifact', 100_000, 1);
  setOldAccessTime(path);
  const file = await openNoatime(path);
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
  // A normal open changes it, unless the file system is mounted with noatime.
  const options = execFileSync('findmnt', ['--noheadings', '--output=OPTIONS', '--target', directory]).toString();
  t.is(statSync(path).atimeMs > 1_000_000, !/\bnoatime\b/.test(options));
});

// Serial, because the effective user is the same for all tests of a process.
testWith(test.serial, 'root')(
  'opens files of other users, and rejects with the error of the system for a missing file',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    writePattern(directory, 'artifact', 10, 1);
    await t.throwsAsync(openNoatime(join(directory, 'absent')), { code: 'ENOENT' });
    chmodSync(directory, 0o755);
    chmodSync(path, 0o644);
    chownSync(path, 1, 1);
    process.seteuid?.(65534);
    try {
      const file = await openNoatime(path);
      t.is((await file.stat()).size, 10);
      await file.close();
    } finally {
      process.seteuid?.(0);
    }
  },
);
