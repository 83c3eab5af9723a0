// HTTP/2 for an Express application: artifacts at /cache/<key> over HTTP/1.1 and HTTP/2, on the port of the application.
import express from 'express';
import { createHandler, directoryStore } from 'hotblob';
import { createServer } from 'hotblob/server';

const store = await directoryStore(process.env.DIR ?? './artifacts');
const handler = createHandler({ store, mountPath: '/cache' });

// Express does not support HTTP/2: its own routes respond over HTTP/1.1, and HTTP/2 requests for them are answered with 505.
const app = express();
app.get('/', (_request, response) => void response.send('hello\n'));

const server = createServer(app, { handler });
await server.listen({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' });
const address = server.address();
if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);

// Responses in flight have 30 seconds to complete.
process.once('SIGTERM', () => server.close());
