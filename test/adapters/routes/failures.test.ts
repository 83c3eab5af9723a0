import { once } from 'node:events';
import { truncate, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { NodeResponse } from '../../../src/adapters/node.js';
import { fileArtifact } from '../../../src/contract/file-artifact.js';
import { SendError } from '../../../src/contract/send-error.js';
import { assertBody } from '../../behaviour/site.js';
import { until } from '../../helpers/poll.js';
import { openRoute, ROUTE_KINDS, type RouteSite } from '../../helpers/routes.js';
import { content, temporaryDirectory } from '../../stores/fixture.js';

const BYTES = content(100_000);

async function fileIn(t: ExecutionContext, bytes = BYTES): Promise<string> {
  const path = `${await temporaryDirectory(t)}/secret-name`;
  await writeFile(path, bytes);
  return path;
}

/** Asserts that `send` has rejected with a SendError whose message does not reveal the path. */
function assertRejected(t: ExecutionContext, { outcomes }: RouteSite, code: string, status: number): void {
  t.is(outcomes.length, 1);
  const [error] = outcomes;
  t.true(error instanceof SendError, String(error));
  // Koa overwrites `status` for codes that it does not support (499).
  t.like(error as SendError, { code, statusCode: status });
  t.notRegex(String(error), /secret/);
}

for (const kind of ROUTE_KINDS) {
  test(`${kind}: if the host has sent headers, send rejects and the host can finish the response`, async (t) => {
    const path = await fileIn(t);
    const site = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      inRoute: (_request, response) => {
        response.writeHead(201, { 'x-host': 'yes' });
        setImmediate(() =>
          until('send has ended', () => site.outcomes.length > 0).then(() => response.end('of the host')),
        );
      },
    });
    const { status, headers, body } = await site.ask('/');
    t.is(status, 201);
    t.is(headers['x-host'], 'yes');
    t.is(body.toString(), 'of the host');
    assertRejected(t, site, 'ERR_HOTBLOB_HEADERS_SENT', 500);
  });

  test(`${kind}: if the host responds while the file is being opened, send rejects`, async (t) => {
    const path = await fileIn(t);
    const site = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      meanwhile: (response) => void response.end('of the host'),
    });
    t.is((await site.ask('/')).body.toString(), 'of the host');
    await until('send has ended', () => site.outcomes.length > 0);
    assertRejected(t, site, 'ERR_HOTBLOB_HEADERS_SENT', 500);
  });

  test(`${kind}: if the host has ended the response, send rejects`, async (t) => {
    const path = await fileIn(t);
    const site = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      inRoute: (_request, response) => void response.end('of the host'),
    });
    t.is((await site.ask('/')).body.toString(), 'of the host');
    await until('send has ended', () => site.outcomes.length > 0);
    assertRejected(t, site, 'ERR_HOTBLOB_HEADERS_SENT', 500);
  });

  test(`${kind}: if a route sends twice, the second call rejects and the client gets the first response`, async (t) => {
    const path = await fileIn(t);
    const site = await openRoute(t, kind, { artifactOf: () => fileArtifact(path), again: true });
    assertBody(t, (await site.ask('/')).body, BYTES);
    await until('both calls have ended', () => site.outcomes.length === 2);
    t.true(site.outcomes.shift());
    assertRejected(t, site, 'ERR_HOTBLOB_HEADERS_SENT', 500);
  });

  test(`${kind}: if the host destroys the socket before or while the file is opened, send rejects`, async (t) => {
    const path = await fileIn(t);
    for (const moment of ['inRoute', 'meanwhile'] as const) {
      let isCut = false;
      const cut = (response: NodeResponse): void => {
        if (!isCut) response.socket?.destroy();
        isCut = true;
      };
      const site = await openRoute(t, kind, {
        artifactOf: () => fileArtifact(path),
        ...(moment === 'inRoute' ? { inRoute: (_request, response) => cut(response) } : { meanwhile: cut }),
      });
      await t.throwsAsync(site.ask('/'));
      await until('send has ended', () => site.outcomes.length > 0);
      assertRejected(t, site, 'ERR_HOTBLOB_CLIENT_GONE', 499);
      // The server keeps serving.
      assertBody(t, (await site.ask('/')).body, BYTES);
    }
  });

  test(`${kind}: if the file is shorter than its region, the error handling of the host responds`, async (t) => {
    const path = await fileIn(t);
    await truncate(path, 10);
    const site = await openRoute(t, kind, { artifactOf: () => fileArtifact(path, { length: 11 }) });
    const response = await site.ask('/');
    t.is(response.status, 500);
    t.false(response.body.includes(path));
    assertRejected(t, site, 'ERR_HOTBLOB_TRUNCATED', 500);
  });

  test(`${kind}: if a header of the artifact is invalid, the error handling of the host responds`, async (t) => {
    const path = await fileIn(t);
    const site = await openRoute(t, kind, {
      artifactOf: () => ({ kind: 'file', path, headers: { 'x-note': 'line\nfeed' } }),
      headers: { 'x-of-host': 'yes', 'cache-control': 'max-age=5' },
    });
    const { status, headers } = await site.ask('/');
    t.is(status, 500);
    // Nothing of the artifact is left on the response of the host.
    for (const name of ['etag', 'accept-ranges', 'last-modified']) t.is(headers[name], undefined, name);
    t.not(headers['content-length'], String(BYTES.byteLength));
    assertRejected(t, site, 'ERR_INVALID_CHAR', 500);
  });

  test(`${kind}: if no descriptor is free, the status is 503 until one is`, async (t) => {
    const directory = await temporaryDirectory(t);
    await writeFile(`${directory}/small`, BYTES);
    // Larger than any socket buffer, so that this response keeps the only descriptor.
    await writeFile(`${directory}/large`, '');
    await truncate(`${directory}/large`, 256 * 1024 * 1024);
    const leaving = new AbortController();
    const site = await openRoute(t, kind, {
      artifactOf: (url) => fileArtifact(`${directory}${url}`),
      sender: { maxOpenFiles: 1, map: 'never' },
    });
    const large = site.ask('/large', { signal: leaving.signal });
    const refusal = t.throwsAsync(large);
    await until('the large file is being sent', () => site.stats().pooledBytes > 0);
    const response = await site.ask('/small');
    t.is(response.status, 503);
    const [error] = site.outcomes;
    t.like(error as SendError, { code: 'ERR_HOTBLOB_OVERLOADED', status: 503 });
    const seconds = (error as SendError).headers['retry-after'];
    t.regex(String(seconds), /^(?:[1-9]|10)$/);
    // Only these frameworks copy `error.headers` to the response.
    if (/^(?:express|koa|fastify)/.test(kind)) t.is(response.headers['retry-after'], seconds);
    leaving.abort();
    await refusal;
    await until('the descriptor is free', async () => (await site.ask('/small')).status === 200);
  });

  test(`${kind}: an error after the headers aborts the response, and send does not reject`, async (t) => {
    const half = BYTES.subarray(0, 50_000);
    const site = await openRoute(t, kind, {
      artifactOf: (url) => ({
        kind: 'stream',
        size: BYTES.byteLength,
        open: () =>
          url === '/good'
            ? Readable.from([BYTES])
            : Readable.from(
                (function* () {
                  yield half;
                  throw new Error('half way');
                })(),
              ),
      }),
    });
    await t.throwsAsync(site.ask('/bad'));
    await until('send has ended', () => site.outcomes.length > 0);
    t.deepEqual(site.outcomes, [true]);
    assertBody(t, (await site.ask('/good')).body, BYTES);
  });

  test(`${kind}: if the client disconnects during the response, send does not reject`, async (t) => {
    const leaving = new AbortController();
    const closed = new AbortController();
    const site = await openRoute(t, kind, {
      artifactOf: () => ({
        kind: 'stream',
        open() {
          const stream = new Readable({
            read() {
              this.push(Buffer.alloc(65_536));
              setImmediate(() => leaving.abort());
            },
          });
          return stream.on('close', () => closed.abort());
        },
      }),
    });
    await t.throwsAsync(site.ask('/', { signal: leaving.signal }));
    if (!closed.signal.aborted) await once(closed.signal, 'abort');
    await until('send has ended', () => site.outcomes.length > 0);
    t.deepEqual(site.outcomes, [true]);
  });
}
