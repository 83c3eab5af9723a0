// Opens a shared store and performs the requests that it receives as messages. Ends when the parent closes the channel.
// Arguments: the directory, and the options as JSON.
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { encodeError } from '../../../src/stores/shared/remote-error.js';
import { type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import { bodyOf, until } from '../fixture.js';
import type { FromChild, ToChild } from './process.js';
import { readShared } from './read.js';

const [dir = '', options = ''] = process.argv.slice(2);
// The parent passes options of this type.
const store = await sharedStore(dir, JSON.parse(options) as SharedStoreOptions);
const send = (message: FromChild): void => void process.send?.(message);

let free = async (): Promise<void> => {};

async function perform(request: ToChild['request']): Promise<unknown> {
  switch (request.kind) {
    case 'put': {
      const { key, bytes, options } = request;
      return store.put(key, Readable.from([Buffer.from(bytes, 'base64')]), options);
    }
    case 'get': {
      const artifact = await store.get(request.key);
      if (artifact === undefined) return undefined;
      const { headers, contentType } = artifact;
      const bytes = await readShared(store, request.key);
      return bytes && { bytes: bytes.toString('base64'), headers, contentType };
    }
    case 'begin': {
      const body = bodyOf([Buffer.alloc(request.length)]);
      store.put(request.key, body).catch(() => {}); // until the process is killed
      await until(() => body.readableLength === 0 && body.readableDidRead);
      return undefined;
    }
    case 'delete':
      return store.delete(request.key);
    case 'stats':
      return { ...store.stats(), isWriter: store.isWriter };
    case 'exhaust':
      free = await exhaust();
      return undefined;
    case 'free':
      return free();
    case 'close':
      return store.close();
  }
}

/** Opens files until the process has no more descriptors. Returns how to close them. */
async function exhaust(): Promise<() => Promise<void>> {
  const files: FileHandle[] = [];
  try {
    for (;;) files.push(await open('/dev/null'));
  } catch {
    return async () => {
      for (const file of files) await file.close();
    };
  }
}

process.on('message', async ({ id, request }: ToChild) => {
  try {
    send({ id, result: await perform(request) });
  } catch (error) {
    send({ id, error: encodeError(error) });
  }
});
process.on('disconnect', () => process.exit(0));
send({ id: 0, result: { isWriter: store.isWriter } });
