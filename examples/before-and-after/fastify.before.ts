// Fastify: a cache at /artifacts/<name>. Requests need a bearer token.
import fastifyStatic from '@fastify/static';
import fastify from 'fastify';
import { announce, isAllowed, port, root, save } from './artifacts.js';

const app = fastify({ logger: true });

app.addHook('onRequest', async (request, reply) => {
  if (!isAllowed(request.headers.authorization)) return reply.code(401).send({ message: 'Authentication required.' });
});

// Bodies are left alone: they are artifacts.
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', (_request, _payload, done) => done(null));

await app.register(fastifyStatic, { root, serve: false });

interface Route {
  Params: { name: string };
}

const schema = { params: { type: 'object', properties: { name: { type: 'string', pattern: '^[\\w-]{1,128}$' } } } };

app.get<Route>('/artifacts/:name', { schema }, (request, reply) => {
  return reply.sendFile(request.params.name);
});

app.put<Route>('/artifacts/:name', { schema }, async (request, reply) => {
  await save(request.params.name, request.raw);
  return reply.code(200).send();
});

await app.listen({ host: '127.0.0.1', port });
announce(app.server.address());
