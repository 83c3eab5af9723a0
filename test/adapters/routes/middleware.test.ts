import { writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable, Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import compression from 'compression';
import cookieSession from 'cookie-session';
import cors from 'cors';
import helmet from 'helmet';
import morgan from 'morgan';
import onFinished from 'on-finished';
import { pinoHttp } from 'pino-http';
import responseTime from 'response-time';
import { fileArtifact } from '../../../src/contract/file-artifact.js';
import { assertBody } from '../../behaviour/site.js';
import type { Middleware } from '../../helpers/mounts.js';
import { until } from '../../helpers/poll.js';
import { openRoute, ROUTE_KINDS } from '../../helpers/routes.js';
import { KINDS } from '../../helpers/servers.js';
import { temporaryDirectory } from '../../stores/fixture.js';

const TEXT = Buffer.from('a line of a log that compresses well\n'.repeat(20_000));

async function textFile(t: ExecutionContext): Promise<string> {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, TEXT);
  return path;
}

/** Casts middleware whose types only accept node:http. */
function forAnyVersion(
  middleware: (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void,
): Middleware {
  return middleware as Middleware;
}

for (const kind of ROUTE_KINDS) {
  const { version } = KINDS[kind];

  test(`${kind}: the compression middleware does not compress files, whole or in ranges`, async (t) => {
    const path = await textFile(t);
    const { ask } = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path, { contentType: 'text/plain' }),
      before: compression({ threshold: 0 }),
    });
    const headers = { 'accept-encoding': 'gzip' };
    const whole = await ask('/', { headers });
    t.is(whole.headers['content-encoding'], undefined);
    t.is(whole.headers['content-length'], String(TEXT.byteLength));
    assertBody(t, whole.body, TEXT);
    assertBody(t, (await ask('/', { headers: { ...headers, range: 'bytes=5-9' } })).body, TEXT.subarray(5, 10));
    t.is((await ask('/', { method: 'HEAD', headers })).headers['content-length'], String(TEXT.byteLength));
  });

  test(`${kind}: headers set by helmet and cors are sent`, async (t) => {
    const path = await textFile(t);
    const secure = forAnyVersion(helmet());
    const shared = cors({ origin: 'https://builds.example', exposedHeaders: ['ETag'] });
    const { ask } = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      before: (request, response, next) => shared(request, response, () => secure(request, response, next)),
    });
    const { headers, body } = await ask('/');
    assertBody(t, body, TEXT);
    t.like(headers, {
      'access-control-allow-origin': 'https://builds.example',
      'access-control-expose-headers': 'ETag',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
    });
    t.regex(String(headers['content-security-policy']), /^default-src 'self'/);
    const preflight = await ask('/', { method: 'OPTIONS', headers: { 'access-control-request-method': 'GET' } });
    t.is(preflight.status, 204);
  });

  test(`${kind}: morgan and pino-http log each response when it is over`, async (t) => {
    const path = await textFile(t);
    const lines: string[] = [];
    const objects: string[] = [];
    const logLine = morgan(':method :url :status :res[content-length]', {
      stream: { write: (line) => void lines.push(line) },
    });
    const logObject = forAnyVersion(
      pinoHttp(
        new Writable({
          write(chunk, _encoding, done) {
            objects.push(String(chunk));
            done();
          },
        }),
      ),
    );
    const { ask } = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      before: (request, response, next) => logLine(request, response, () => logObject(request, response, next)),
    });
    await ask('/whole');
    await ask('/part', { headers: { range: 'bytes=0-99' } });
    await until('both requests are logged', () => lines.length === 2 && objects.length === 2);
    t.deepEqual(lines, [`GET /whole 200 ${TEXT.byteLength}\n`, 'GET /part 206 100\n']);
    const statuses = objects.map((line): unknown => JSON.parse(line).res.statusCode);
    t.deepEqual(statuses, [200, 206]);
  });

  test(`${kind}: on-finished fires at the end of a response and when the client disconnects`, async (t) => {
    const ends: (string | undefined)[] = [];
    const leaving = new AbortController();
    const { ask } = await openRoute(t, kind, {
      artifactOf: (url) =>
        url === '/endless'
          ? {
              kind: 'stream',
              open: () =>
                new Readable({
                  read() {
                    this.push(Buffer.alloc(65_536));
                    setImmediate(() => leaving.abort());
                  },
                }),
            }
          : { kind: 'bytes', bytes: TEXT },
      before(_request, response, next) {
        onFinished(response, (_error, { writableFinished }) => ends.push(writableFinished ? 'finished' : 'aborted'));
        next();
      },
    });
    await ask('/');
    await until('the first response has ended', () => ends.length === 1);
    await t.throwsAsync(ask('/endless', { signal: leaving.signal }));
    await until('the second response has ended', () => ends.length === 2);
    // The compatibility API of node:http2 has no writableFinished.
    if (version === 1) t.deepEqual(ends, ['finished', 'aborted']);
  });

  test(`${kind}: response-time and cookie-session can set headers when the headers are written`, async (t) => {
    const path = await textFile(t);
    const measure = responseTime();
    const session = cookieSession({ name: 'session', keys: ['signing'] });
    const { ask } = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path),
      before: (request, response, next) =>
        measure(request, response, () =>
          session(request, response, () => {
            Object.assign(request, { session: { user: 'builder' } });
            next();
          }),
        ),
    });
    for (const headers of [{}, { range: 'bytes=0-9' }]) {
      const response = await ask('/', { headers });
      t.regex(String(response.headers['x-response-time']), /^[\d.]+ms$/);
      t.regex(String(response.headers['set-cookie']), /^session=\w+={0,2};.*session\.sig=/);
      t.is(response.body.byteLength, Number(response.headers['content-length']));
    }
  });
}
