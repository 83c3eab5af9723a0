// Koa: artifacts at /cache/<key>, with a log line for each response.
import diagnosticsChannel from 'node:diagnostics_channel';
import { createHandler, directoryStore, type ResponseReport } from 'hotblob';
import { koaMiddleware } from 'hotblob/koa';
import Koa from 'koa';
import mount from 'koa-mount';

const store = await directoryStore(process.env.DIR ?? './artifacts');

diagnosticsChannel.subscribe('hotblob:response', (message) => {
  const { method, key, status, milliseconds } = message as ResponseReport;
  console.log(`${method} ${key}: ${status} in ${milliseconds.toFixed(1)} ms`);
});

const app = new Koa();
app.use(mount('/cache', koaMiddleware(createHandler({ store }))));

const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
