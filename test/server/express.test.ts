import type http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import express from 'express';
import { createHandler } from '../../src/handler/handler.js';
import { openPort, type Port } from './fixture.js';

function application() {
  const app = express();
  app.use((_request, _response, next) => void setTimeout(next, 5));
  app.get('/page', (_request, response) => void response.send('a page'));
  app.get('/later', async (_request, response) => {
    await wait(5);
    response.send('a page');
  });
  return app;
}

async function ask(t: ExecutionContext, { session }: Port, path: string): Promise<{ status: number; body: string }> {
  const stream = (await session()).request({ ':path': path });
  let status = 0;
  stream.on('response', (headers) => {
    status = Number(headers[':status']);
  });
  const body = (await stream.toArray()).join('');
  t.is(stream.rstCode, 0);
  return { status, body };
}

const LISTENERS: Record<string, http.RequestListener> = {
  'an application': application(),
  'a function that calls an application': (
    (app) => (request, response) =>
      app(request, response)
  )(application()),
};

for (const [name, listener] of Object.entries(LISTENERS)) {
  test(`Express, ${name}: serves pages over HTTP/1.1, responds with 505 over HTTP/2, and serves artifacts over both`, async (t) => {
    const bytes = Buffer.from('artifact');
    const handler = createHandler({
      store: { get: (key) => (key === 'key' ? { kind: 'bytes', bytes } : undefined) },
      mountPath: '/cache',
    });
    for (const secure of [false, true]) {
      const port = await openPort(t, listener, { handler, secure });
      for (const path of ['/page', '/later', '/missing', '/']) {
        const { status, body } = await ask(t, port, path);
        t.is(status, 505, path);
        t.deepEqual(JSON.parse(body), { message: 'This path is served over HTTP/1.1 only.' });
      }
      t.deepEqual(await ask(t, port, '/cache/key'), { status: 200, body: 'artifact' });
      if (secure) continue;
      const url = `http://127.0.0.1:${port.port}`;
      t.is(await (await fetch(`${url}/page`)).text(), 'a page');
      t.is(await (await fetch(`${url}/cache/key`)).text(), 'artifact');
      t.is((await fetch(`${url}/missing`)).status, 404);
    }
  });
}
