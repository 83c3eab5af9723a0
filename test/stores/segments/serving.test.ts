import { execFile } from 'node:child_process';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { nodeListener } from '../../../src/adapters/node.js';
import type { Store } from '../../../src/contract/store.js';
import { createHandler } from '../../../src/handler/handler.js';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { heapShareOfUrls, keyInLongUrl } from '../../helpers/long-urls.js';
import { content, put, temporaryDirectory } from '../fixture.js';
import { transpiled } from './transpiled.js';

async function serve(t: ExecutionContext, store: Store): Promise<string> {
  const handler = createHandler({ store });
  const server = http.createServer(nodeListener(handler));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    handler.close();
  });
  // The type of address() includes other kinds of sockets.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function fetchBytes(
  url: string,
  init?: RequestInit,
): Promise<{ readonly status: number; readonly bytes: Buffer }> {
  const response = await fetch(url, init);
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
}

test('an upload is served at once by the writer and by a reader of the same directory, although the file grows', async (t) => {
  const dir = await temporaryDirectory(t);
  const writer: SegmentStore = await segmentStore(dir);
  const urls = [await serve(t, writer)];
  for (let index = 0; index < 60; index++) {
    const body = content(100 + index * 3000, index);
    const { status } = await fetch(`${urls[0]}/k/${index}`, { method: 'PUT', body });
    t.is(status, 200);
    // The reader needs an existing store. Its requests come within the second in which an open file is not revalidated.
    if (index === 0) urls.push(await serve(t, await segmentStore(dir, { readOnly: true })));
    for (const url of urls) {
      const response = await fetchBytes(`${url}/k/${index}`);
      t.is(response.status, 200);
      t.true(response.bytes.equals(body), `${url}: artifact ${index}`);
    }
  }
  t.is((await fetch(`${urls[1]}/k/0`, { method: 'PUT', body: 'x' })).status, 405);
  await writer.close();
});

test('ranges and preconditions keep working after compaction has copied the body', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { maxBytes: 1_000_000 });
  const url = await serve(t, store);
  await put(store, 'a', content(2000));
  const { headers } = await fetch(`${url}/a`);
  const etag = headers.get('etag') ?? '';
  const range = { range: 'bytes=100-199', 'if-range': etag };
  for (let index = 0; index < 150; index++) {
    await put(store, `other/${index}`, content(10_000, index));
    const part = await fetchBytes(`${url}/a`, { headers: range });
    t.is(part.status, 206);
    t.true(part.bytes.equals(content(2000).subarray(100, 200)));
  }
  const artifact = await store.get('a');
  t.true(artifact?.kind === 'file' && !artifact.path.endsWith('0000000001.segment'));
  t.is((await fetch(`${url}/a`, { headers: { 'if-none-match': etag } })).status, 304);
  await store.close();
});

test('if lmdb cannot be loaded, the error says what to do and names directoryStore', async (t) => {
  const dir = await temporaryDirectory(t);
  const program = (await transpiled(t, 'writing-child.ts')).replace(/test\/stores.*/, 'src/stores/segments/store.js');
  // Fails to load lmdb with the error given as JSON.
  const script = `
    import Module from 'node:module';
    const [program, dir, failure] = process.argv.slice(1);
    const load = Module._load;
    Module._load = (name, ...rest) => {
      if (name === 'lmdb') throw Object.assign(new Error(), JSON.parse(failure));
      return load(name, ...rest);
    };
    const { segmentStore } = await import(program);
    await segmentStore(dir).catch(({ name, code, message }) => console.log(JSON.stringify({ name, code, message })));
  `;
  for (const [failure, message] of [
    [
      { message: "Cannot find module 'lmdb'", code: 'MODULE_NOT_FOUND' },
      /which is not installed: run 'npm install lmdb', or use directoryStore/,
    ],
    [
      { message: 'invalid ELF header', code: 'ERR_DLOPEN_FAILED' },
      /which failed to load \(invalid ELF header\): reinstall it, or use directoryStore/,
    ],
  ] as const) {
    const args = ['--input-type=module', '-e', script, program, dir, JSON.stringify(failure)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const error = JSON.parse(stdout);
    t.like(error, { name: 'HotblobError', code: 'ERR_HOTBLOB_NO_LMDB' });
    t.regex(error.message, message);
  }
});

test.serial('lookups do not keep the URLs in memory of which their keys are a part', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  await Promise.all(Array.from({ length: 1000 }, (_, index) => put(store, keyInLongUrl(index), content(10, index))));
  const share = await heapShareOfUrls(1000, (key) => t.not(store.get(key), undefined));
  t.true(share < 0.3, `${share} of the URLs are in memory`);
  await store.close();
});
