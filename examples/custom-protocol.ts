// Custom protocol: artifacts at /lib/<name>/<version>. The header x-artifact-built-by of an upload is stored and sent with downloads.
import { createHandler, directoryStore } from 'hotblob';
import { type Protocol, uploadMetadata } from 'hotblob/protocols';
import { createServer } from 'hotblob/server';

const libraries: Protocol = {
  name: 'libraries',
  route({ method, path, headers }) {
    const [, name, version] = /^\/lib\/([a-z-]+)\/(\d+\.\d+\.\d+)$/.exec(path) ?? [];
    if (name === undefined) return undefined; // not a request of this protocol
    const key = `${name}/${version}`;
    if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
    if (method === 'PUT') return { kind: 'upload', key, metadata: uploadMetadata(headers, ['x-artifact-built-by']) };
    return { kind: 'unsupported', allow: ['GET', 'HEAD', 'PUT'] };
  },
};

const store = await directoryStore(process.env.DIR ?? './artifacts');
const server = createServer(createHandler({ store, protocols: [libraries] }));
await server.listen({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' });
const address = server.address();
if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
process.once('SIGTERM', () => server.close());
