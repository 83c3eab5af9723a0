import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { send } from '../helpers/http1.js';
import { content } from '../stores/fixture.js';

const MIB = 1024 * 1024;

/** Starts a server on a file system of 16 MiB, in its own mount namespace, so that the mount ends with the process. */
async function serveSmallDisk(
  t: ExecutionContext,
  store: string,
  processes: number,
): Promise<{ child: ChildProcess; url: string }> {
  const dir = await mkdtemp(`${tmpdir()}/hotblob-full-`);
  const namespaces = process.getuid?.() === 0 ? '-m' : '-rm';
  const script =
    'mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" dist/cli.js serve --port 0 --dir "$1" --store "$3" --processes "$4"';
  const child = spawn(
    'unshare',
    [namespaces, 'sh', '-c', script, 'sh', dir, process.execPath, store, String(processes)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.teardown(async () => {
    child.kill('SIGKILL');
    await rm(dir, { recursive: true });
  });
  const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  return { child, url: /http:\/\/\S+/.exec(line)?.[0] ?? '' };
}

/** Fills the disk of a server and sends more requests. Returns the outcome in words. */
export async function fillDisk(t: ExecutionContext, kind: 'directory' | 'segments', processes = 1): Promise<string> {
  const { child, url } = await serveSmallDisk(t, kind, processes);
  // On connections of their own, which lead to all processes in turn.
  const put = async (key: string, body: Buffer) =>
    (await send(`${url}/${key}`, { method: 'PUT', agent: false, body })).status;
  const get = async (key: string) => {
    const { status, body } = await send(`${url}/${key}`, { agent: false });
    return status === 200 ? body : status;
  };
  const stored: number[] = [];
  let status = 0;
  for (let seed = 0; status !== 507 && seed < 20; seed++) {
    status = await put(`key/${seed}`, content(1.5 * MIB, seed));
    if (status === 200) stored.push(seed);
    else t.is(await get(`key/${seed}`), 404);
  }
  t.is(status, 507);
  t.true(stored.length >= 8, `${stored.length} stored`);
  // Repeated, because a failed upload must not leave anything on the disk.
  for (let count = 0; count < 10; count++) t.is(await put('key/too-large', content(2 * MIB)), 507);
  t.is(await get('key/too-large'), 404);
  t.is(await put('key/0', content(2 * MIB)), 507, 'an overwrite');
  t.is(await put('key/small', content(20_000, 99)), 200);
  t.deepEqual(await get('key/small'), content(20_000, 99));
  for (const seed of stored) t.true(content(1.5 * MIB, seed).equals(Buffer.from((await get(`key/${seed}`)) as Buffer)));
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'exit'), [0, null]);
  return `${status} for every upload that does not fit; stored artifacts stay; smaller uploads succeed; the server exits with 0`;
}
