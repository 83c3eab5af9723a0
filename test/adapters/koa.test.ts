import { writeFile } from 'node:fs/promises';
import test from 'ava';
import Koa from 'koa';
import Koa2 from 'koa2';
import { createSender } from '../../src/adapters/koa.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { SendError } from '../../src/contract/send-error.js';
import { assertBody } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import { startListener } from '../helpers/servers.js';
import { SlowArtifact } from '../helpers/slow-artifact.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(200_000);

for (const [name, Application] of [
  ['Koa 3', Koa],
  ['Koa 2', Koa2],
] as const) {
  test(`${name}: errors can be caught by middleware, and otherwise reach the application`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const hot = createSender();
    t.teardown(() => hot.close());
    const emitted: unknown[] = [];
    const app = new Application();
    app.on('error', (error) => emitted.push(error));
    app.use(async (context, next) => {
      try {
        await next();
      } catch (error) {
        if (!(error instanceof SendError) || context.path === '/thrown') throw error;
        context.status = error.status;
        context.body = { host: error.code };
      }
    });
    app.use(async (context) => {
      const length = context.path === '/good' ? BYTES.byteLength : BYTES.byteLength + 1;
      await hot.send(context, fileArtifact(path, { length }));
    });
    const server = await startListener(t, 'http', app.callback() as never);
    assertBody(t, (await request(server, { path: '/good' })).body, BYTES);
    const caught = await request(server, { path: '/caught' });
    t.is(caught.status, 500);
    t.deepEqual(JSON.parse(caught.body.toString()), { host: 'ERR_HOTBLOB_TRUNCATED' });
    t.deepEqual(emitted, []);
    const thrown = await request(server, { path: '/thrown' });
    t.is(thrown.status, 500);
    t.is(thrown.body.toString(), 'Internal Server Error');
    t.is(emitted.length, 1);
  });

  test(`${name}: middleware that does not await next() cannot change a response that has begun`, async (t) => {
    const hot = createSender();
    t.teardown(() => hot.close());
    const app = new Application();
    app.silent = true;
    const slow = new SlowArtifact(BYTES);
    app.use(async (context, next) => {
      void next();
      await slow.begun; // not the end of the response
      context.set('x-late', 'yes');
      context.body = 'of the host';
      setImmediate(() => slow.release());
    });
    app.use(async (context) => {
      await hot.send(context, slow.artifact);
    });
    const server = await startListener(t, 'http', app.callback() as never);
    const { status, headers, body } = await request(server, { path: '/' });
    t.is(status, 200);
    t.is(headers['x-late'], undefined);
    assertBody(t, body, BYTES);
  });
}
