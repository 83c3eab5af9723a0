import { writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import type { Artifact } from '../../src/contract/artifact.js';
import { statusOf } from '../../src/contract/errors.js';
import type { Exchange } from '../../src/contract/exchange.js';
import { createHandler } from '../../src/handler/handler.js';
import { answerError } from '../../src/handler/reply.js';
import { memoryStore } from '../../src/stores/memory.js';
import { type Response, request } from '../helpers/client.js';
import { HOST_BODY, KINDS, type Kind, startServer } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { assertBody, assertError, open, storeOf } from './site.js';

const BYTES = content(100_000);
const store = storeOf({ key: { kind: 'bytes', bytes: BYTES }, 'a/b': { kind: 'bytes', bytes: BYTES } });

export function mounts(kind: Kind): void {
  const hasHost = KINDS[kind].host !== 'stream';
  /** Asserts that the host has answered, or for a kind without a host, that the response is a 404. */
  const assertPassedOn = (t: ExecutionContext, response: Response): void => {
    if (!hasHost) {
      assertError(t, response, 404);
      return;
    }
    t.is(response.status, 200);
    assertBody(t, response.body, HOST_BODY);
  };

  test(`${kind}: a handler serves keys below its mount path and passes on other requests`, async (t) => {
    const { ask } = await open(t, kind, { store }, { mount: '/cache', answers: hasHost });
    for (const path of ['/cache/key', '/cache/a/b', '/cache/key?q=/x']) {
      const { status, body } = await ask('GET', path);
      t.is(status, 200, path);
      assertBody(t, body, BYTES);
    }
    for (const path of ['/key', '/', '/cached/key', '/other/cache/key']) assertPassedOn(t, await ask('GET', path));
    assertError(t, await ask('GET', '/cache/missing'), 404);
    assertError(t, await ask('PUT', '/cache/key'), 405);
    assertError(t, await ask('GET', '/cache/a//b'), 400);
  });

  test(`${kind}: with fallthrough, requests that the handler cannot serve are passed on with their body`, async (t) => {
    const { ask } = await open(t, kind, { store, fallthrough: true }, { mount: '/cache', answers: hasHost });
    t.is((await ask('GET', '/cache/key')).status, 200);
    assertPassedOn(t, await ask('GET', '/cache/missing'));
    assertPassedOn(t, await ask('GET', '/cache/'));
    assertPassedOn(t, await ask('GET', '/cache/a//b'));
    assertPassedOn(t, await ask('PUT', '/cache/key', { body: Buffer.from('body') }));
    assertPassedOn(t, await ask('DELETE', '/cache/key'));
    assertPassedOn(t, await ask('POST', '/cache/key'));

    const writable = await open(t, kind, { store: memoryStore(), fallthrough: true }, { answers: hasHost });
    assertPassedOn(t, await writable.ask('DELETE', '/key'));
    t.is((await writable.ask('PUT', '/key', { body: BYTES })).status, 200);
    assertBody(t, (await writable.ask('GET', '/key')).body, BYTES);
  });

  test(`${kind}: trySend sends an artifact that the host has looked up itself`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const handler = createHandler({ store });
    const artifacts: Record<string, Artifact> = {
      '/file': { kind: 'file', path, etag: '"found"' },
      '/gone': { kind: 'file', path: `${path}-gone` },
      '/broken': { kind: 'file', path, length: BYTES.byteLength + 1 },
    };
    const route = {
      close: () => handler.close(),
      async handle(exchange: Exchange) {
        const artifact = artifacts[exchange.url];
        if (artifact === undefined) return false;
        try {
          return (await handler.trySend(exchange, artifact)) !== false;
        } catch (error) {
          answerError(exchange, statusOf(error));
          return true;
        }
      },
    };
    const server = await startServer(t, kind, route, { answers: hasHost });
    const ask = (url: string, headers = {}) => request(server, { path: url, headers });
    const { status, headers, body } = await ask('/file');
    t.is(status, 200);
    t.is(headers.etag, '"found"');
    assertBody(t, body, BYTES);
    t.is((await ask('/file', { 'if-none-match': '"found"' })).status, 304);
    assertBody(t, (await ask('/file', { range: 'bytes=-9' })).body, BYTES.subarray(-9));
    assertPassedOn(t, await ask('/gone'));
    assertPassedOn(t, await ask('/unknown'));
    assertError(t, await ask('/broken'), 500);
  });
}
