// node:http: artifacts at /cache/<key>. The server responds to all other requests itself.
import { createServer } from 'node:http';
import { createHandler, directoryStore } from 'hotblob';
import { nodeListener } from 'hotblob/node';

const store = await directoryStore(process.env.DIR ?? './artifacts');
const cache = nodeListener(createHandler({ store, mountPath: '/cache' }));

const server = createServer((request, response) => {
  cache(request, response, () => {
    response.end('hello\n');
  });
});
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
