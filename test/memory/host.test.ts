import os from 'node:os';
import test from 'ava';
import { readHostMemory, readOsMemory } from '../../src/memory/host.js';
import { parseRows } from '../../src/memory/sensor.js';
import { GIB, hostTree, MIB, meminfo } from './fixture.js';

test('parseRows accepts rows with and without a colon and a unit, and skips other lines', (t) => {
  const rows = parseRows('anon 12\nActive(anon):   34 kB\nHugePages_Total:       0\nbad x\nlow 1 2\n\nnull\nlast 5');
  t.deepEqual(Object.fromEntries(rows), { anon: 12, 'Active(anon)': 34, HugePages_Total: 0, last: 5 });
});

test('readHostMemory counts unreclaimable rows and ignores the page cache', (t) => {
  const counted = {
    AnonPages: 1 * MIB,
    Shmem: 2 * MIB,
    SUnreclaim: 4 * MIB,
    KernelStack: 8 * MIB,
    PageTables: 16 * MIB,
    Percpu: 32 * MIB,
    Hugetlb: 64 * MIB,
    Dirty: 128 * MIB,
    Writeback: 256 * MIB,
  };
  const clean = { Cached: 15 * GIB, Buffers: GIB, SReclaimable: 2 * GIB, Mapped: GIB, 'Active(file)': 15 * GIB };
  const tree = hostTree(t, { '/proc/meminfo': meminfo(16 * GIB, { ...counted, ...clean }) });
  t.deepEqual(readHostMemory(tree.read), { usedBytes: 511 * MIB, limitBytes: 16 * GIB });
});

test('readHostMemory throws if the file is missing or malformed', (t) => {
  t.throws(() => readHostMemory(hostTree(t, {}).read), { code: 'ENOENT' });
  for (const text of ['', 'MemTotal: 0 kB\nAnonPages: 1 kB\n', 'MemTotal: 5 kB\n', '<html>']) {
    t.throws(() => readHostMemory(hostTree(t, { '/proc/meminfo': text }).read), {
      message: '/proc/meminfo: expected the rows MemTotal and AnonPages',
    });
  }
});

test('readOsMemory returns the memory in use on Windows, and the resident set size elsewhere', (t) => {
  const own = readOsMemory('darwin');
  t.is(own.limitBytes, os.totalmem());
  // Node uses tens of MiB. If other processes or the cache counted, the difference would be larger.
  t.true(own.usedBytes > 10 * MIB && Math.abs(own.usedBytes - process.memoryUsage.rss()) < 64 * MIB);

  const windows = readOsMemory('win32');
  t.true(Math.abs(windows.usedBytes - (os.totalmem() - os.freemem())) < 256 * MIB);
});
