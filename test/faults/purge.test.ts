import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import type { ReadWriteStore } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { runCommand, startCommand } from '../helpers/command-line.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { startServe } from '../helpers/serve-child.js';

const KINDS = ['directory', 'segments'] as const;
const MIB = 1024 * 1024;

/** Returns bytes that differ for each seed. */
function bodyOf(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, seed % 251);
  bytes.writeUInt32LE(seed);
  return bytes;
}

/** Starts a download, and resolves when its first bytes have arrived. */
async function startDownload(url: string): Promise<http.IncomingMessage> {
  const [response] = (await once(http.get(url, { agent: false }), 'response')) as [http.IncomingMessage];
  await once(response, 'readable');
  return response;
}

for (const kind of KINDS) {
  test(`${kind}: 50 downloads in flight complete while their artifacts are purged`, async (t) => {
    const { url } = await startServe(t, ['--store', kind, '--max-size', '1GiB']);
    const bodies = Array.from({ length: 50 }, (_, index) => bodyOf(index, 4 * MIB));
    for (const [index, body] of bodies.entries()) await fetch(`${url}/key-${index}`, { method: 'PUT', body });
    const downloads = await Promise.all(bodies.map((_, index) => startDownload(`${url}/key-${index}`)));
    t.true(downloads.some(({ complete }) => !complete));
    const purged = await runCommand(['purge', '--all', url]);
    t.is(purged.stdout, '50 artifacts, 200 MiB: deleted\n');
    for (const [index, download] of downloads.entries()) {
      const bytes = Buffer.concat(await download.toArray());
      t.true(bytes.equals(bodies[index] ?? Buffer.of()), `download ${index}: ${bytes.byteLength} bytes`);
      t.is((await fetch(`${url}/key-${index}`)).status, 404);
    }
    await fetch(`${url}/key-0`, { method: 'PUT', body: bodies[1] ?? '' });
    t.true(Buffer.from(await (await fetch(`${url}/key-0`)).arrayBuffer()).equals(bodies[1] ?? Buffer.of()));
  });

  test(`${kind}: after a purge is killed, each artifact is intact or gone, and the next purge deletes the rest`, async (t) => {
    const dir = join(await temporaryDirectory(t), 'store');
    const count = 3000;
    const open = (): Promise<ReadWriteStore> => (kind === 'directory' ? directoryStore(dir) : segmentStore(dir));
    const store = await open();
    for (let start = 0; start < count; start += 100) {
      const keys = Array.from({ length: 100 }, (_, index) => start + index);
      const metadata = { subject: 'ci' };
      await Promise.all(
        keys.map((key) => {
          const { signal } = new AbortController();
          return store.put(`nx/${key}`, Readable.from([bodyOf(key, 2000)]), { signal, metadata });
        }),
      );
    }
    await store.close();
    // Without a process of its own, which would often see only the end of the purge.
    const reader = kind === 'segments' ? await segmentStore(dir, { readOnly: true }) : undefined;
    const remaining = async () => reader?.stats().artifacts ?? (await readdir(join(dir, 'nx'))).length;
    const { child, ended } = startCommand(['purge', '--all', dir]);
    const listed = async (): Promise<string[]> => {
      const { stdout } = await runCommand(['ls', '--json', dir]);
      return stdout.split('\n').filter((line) => line !== '');
    };
    await until('some are deleted', async () => (await remaining()) < count);
    child.kill('SIGKILL');
    await ended;
    await reader?.close();
    const left = await listed();
    t.log(`${left.length} of ${count} artifacts are left`);
    const again = await open();
    for (const line of left) {
      const { key, subject, bytes } = JSON.parse(line) as { key: string; subject: string; bytes: number };
      t.deepEqual({ subject, bytes }, { subject: 'ci', bytes: 2000 });
      const artifact = await again.get(key, { signal: new AbortController().signal });
      t.truthy(artifact, key);
    }
    await again.close();
    if (kind === 'segments') t.regex((await runCommand(['verify', dir])).stdout, /: no problems found\n$/);
    t.regex(
      (await runCommand(['purge', '--all', dir])).stdout,
      new RegExp(`^${left.length.toLocaleString('en-US')} artifact`),
    );
    t.deepEqual(await listed(), []);
  });
}
