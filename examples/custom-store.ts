// Custom read-only store: files named by the SHA-256 of their content, in subdirectories (ab/cdef...).
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
    // Content-addressed files never change, so they may be mapped (`immutable`). A missing file is a miss.
    return { kind: 'file', path, root, etag: `"${key}"`, immutable: true };
  },
};

const server = createServer(nodeListener(createHandler({ store })));
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
