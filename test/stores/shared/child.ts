// Opens a shared store and performs the requests that it receives as messages. Ends when the parent closes the channel.
// Arguments: the directory, and the options as JSON.
import { Readable } from 'node:stream';
import { encodeError } from '../../../src/stores/shared/remote-error.js';
import { type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import { bytesOf } from '../segments/fixture.js';
import type { FromChild, ToChild } from './process.js';

const [dir = '', options = ''] = process.argv.slice(2);
// The parent passes options of this type.
const store = await sharedStore(dir, JSON.parse(options) as SharedStoreOptions);
const send = (message: FromChild): void => void process.send?.(message);

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
      try {
        return {
          bytes: (await bytesOf(artifact.kind === 'file' ? await sized(artifact) : artifact)).toString('base64'),
          headers,
          contentType,
        };
      } catch (error) {
        if (encodeError(error).code === 'ENOENT') return undefined; // the miss of a directory store
        throw error;
      }
    }
    case 'delete':
      return store.delete(request.key);
    case 'stats':
      return { ...store.stats(), isWriter: store.isWriter };
    case 'close':
      return store.close();
  }
}

async function sized<T extends { readonly path: string; readonly length?: number | undefined }>(
  artifact: T,
): Promise<T> {
  if (artifact.length !== undefined) return artifact;
  const { stat } = await import('node:fs/promises');
  return { ...artifact, length: (await stat(artifact.path)).size };
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
