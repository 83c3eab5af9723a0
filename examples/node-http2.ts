// node:http2 without TLS, for clients with prior knowledge: `curl --http2-prior-knowledge`.
import { createServer } from 'node:http2';
import { createHandler, directoryStore } from 'hotblob';
import { streamListener } from 'hotblob/node';

const store = await directoryStore(process.env.DIR ?? './artifacts');
const server = createServer();
// 'stream' instead of 'request': small artifacts are faster without the compatibility API.
server.on('stream', streamListener(createHandler({ store, mountPath: '/cache' })));
server.on('session', (session) => session.on('error', () => {}));

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
