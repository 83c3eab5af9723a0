// A read-only store of one's own: files named by the SHA-256 of what is in them, spread over subdirectories: ab/cdef...
import { realpath } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createHandler, type Store } from 'hotblob';
import { nodeListener } from 'hotblob/node';

const root = await realpath(process.env.DIR ?? './artifacts');

const store: Store = {
  get(key) {
    if (!/^[0-9a-f]{64}$/.test(key)) return undefined;
    const path = join(root, key.slice(0, 2), key.slice(2));
    // Such a file is never rewritten, so that it may be mapped; one that is not there is a miss.
    return { kind: 'file', path, root, etag: `"${key}"`, immutable: true };
  },
};

const server = createServer(nodeListener(createHandler({ store })));
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
