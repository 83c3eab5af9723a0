import { Readable } from 'node:stream';
import { directoryStore } from '../../src/stores/directory/store.js';

/** Overwrites two artifacts until it is killed. Every second upload has metadata that repeats the body. */
const [directory = '', prefix = ''] = process.argv.slice(2);
process.on('disconnect', () => process.exit());
const store = await directoryStore(directory);
const { signal } = new AbortController();

const client = async (name: number): Promise<void> => {
  for (let number = 0; ; number++) {
    const body = `${number % 2 === 0 ? 'described' : 'plain'}-${prefix}-${name}-${number}`;
    const metadata = number % 2 === 0 ? { headers: { 'x-artifact-body': body } } : undefined;
    await store.put(`key-${name % 2}`, Readable.from([Buffer.from(body)]), { signal, metadata });
    process.send?.(body);
  }
};
await Promise.all([0, 1, 2, 3].map(client));
