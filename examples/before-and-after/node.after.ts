// Bare node:http: a cache at /artifacts/<name>. Requests need a bearer token.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileArtifact } from 'hotblob';
import { createSender } from 'hotblob/node';
import morgan from 'morgan';
import { announce, isAllowed, nameIn, port, root, save } from './artifacts.js';

const log = morgan('tiny');
const hot = createSender();

const server = createServer((request, response) => {
  log(request, response, () => {
    answer(request, response).catch((error: { statusCode?: number }) => {
      if (response.headersSent) response.destroy();
      else end(response, error.statusCode ?? 500);
    });
  });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!isAllowed(request.headers.authorization)) return end(response, 401);
  const name = nameIn(request.url);
  if (name === undefined) return end(response, 404);
  if (request.method === 'PUT') {
    await save(name, request);
    return end(response, 200);
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405);
  const artifact = fileArtifact(name, { root, immutable: true });
  if (!(await hot.trySend(request, response, artifact))) end(response, 404);
}

function end(response: ServerResponse, status: number): void {
  response.writeHead(status).end();
}

server.listen(port, '127.0.0.1', () => announce(server.address()));
