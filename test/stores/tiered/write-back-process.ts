import { Readable } from 'node:stream';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { tieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';

/** Uploads artifacts concurrently until the process is killed. Sends the key of each acknowledged upload to the parent. */
const [directory = '', url = '', prefix = ''] = process.argv.slice(2);
process.on('disconnect', () => process.exit());
const local = await directoryStore(`${directory}/local`);
const remote = upstreamStore(url, { h2c: true });
const queueDir = `${directory}/queue`;
const store = await tieredStore({ local, remote, writes: 'writeBack', queueDir, failureThreshold: 1000 });
const { signal } = new AbortController();

let number = 0;
const client = async (): Promise<void> => {
  for (;;) {
    const key = `${prefix}/${number++}`;
    const bytes = Buffer.from(key.repeat(100));
    await store.put(key, Readable.from([bytes]), { signal, size: bytes.byteLength });
    process.send?.(key);
  }
};
await Promise.all(Array.from({ length: 4 }, client));
