import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type http from 'node:http';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { auto } from 'http2-wrapper';
import { createHandler } from '../../src/handler/handler.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type Requirement, testWith } from '../helpers/peers.js';
import { openPort } from './fixture.js';

const SIZE = 3 * MIB + 1;

/** Starts a server with one artifact, whose bytes are `expected`. */
async function openSite(t: ExecutionContext, secure: boolean) {
  const directory = await temporaryDirectory(t);
  const expected = writePattern(directory, 'artifact', SIZE, 1);
  const handler = createHandler({ store: await directoryStore(directory, { immutable: true }) });
  const { port } = await openPort(t, handler, { secure });
  const url = `${secure ? 'https' : 'http'}://127.0.0.1:${port}/artifact`;
  return { handler, port, expected, url };
}

async function run(command: string, ...args: string[]): Promise<Buffer> {
  const options = { encoding: 'buffer', maxBuffer: 64 * MIB, timeout: 60_000, killSignal: 'SIGKILL' } as const;
  const { stdout } = await promisify(execFile)(command, args, options);
  return stdout;
}

function peerTest(
  title: string,
  peer: Requirement,
  body: (t: ExecutionContext, secure: boolean) => Promise<void>,
): void {
  for (const secure of [false, true]) {
    testWith(test, peer)(`${title}, ${secure ? 'TLS' : 'plain'}`, (t) => body(t, secure));
  }
}

for (const version of ['--http1.1', '--http2', '--http2-prior-knowledge'] as const) {
  peerTest(
    `curl ${version} uploads and downloads, reads a range and reuses its connection`,
    'curl',
    async (t, secure) => {
      const { url, expected } = await openSite(t, secure);
      const curl = (...args: string[]) => run('curl', '--silent', '--show-error', '--insecure', version, ...args);
      t.true((await curl(url)).equals(expected));
      t.true((await curl('--range', '1000-2000000', url)).equals(expected.subarray(1000, 2_000_001)));
      const summary = (await curl('--head', '--write-out', '%{http_version} %{response_code}', url)).toString();
      // On a plain port, curl requests an upgrade to HTTP/2, which RFC 9113 has removed: the connection stays HTTP/1.1.
      const isHttp2 = version === '--http2-prior-knowledge' || (version === '--http2' && secure);
      t.regex(summary, isHttp2 ? /2 200$/ : /1\.1 200$/);

      const uploaded = `${await temporaryDirectory(t)}/file`;
      const body = pattern(SIZE, 2);
      await writeFile(uploaded, body);
      // curl waits a second for 100 (Continue) before it sends the body without one.
      const verbose = await promisify(execFile)('curl', [
        '-vsk',
        version,
        '-H',
        'Expect: 100-continue',
        '--upload-file',
        uploaded,
        `${url}-2`,
      ]);
      t.regex(verbose.stderr, /< HTTP\/(?:1\.1|2) 100/);
      t.true((await curl(`${url}-2`)).equals(body));
      // curl 7.88 cannot reuse a connection with prior knowledge, with any server.
      const many = Array.from({ length: version === '--http2-prior-knowledge' ? 1 : 20 }, () => url);
      t.is((await curl('--parallel', ...many)).byteLength, many.length * SIZE);
    },
  );
}

peerTest('nghttp downloads on many streams of one session', 'nghttp', async (t, secure) => {
  const { url, expected } = await openSite(t, secure);
  const output = await run(
    'nghttp',
    '--no-verify-peer',
    '--no-dep',
    ...Array.from({ length: 10 }, (_, i) => `${url}?${i}`),
  );
  t.is(output.byteLength, 10 * SIZE);
  t.true(output.includes(expected.subarray(-1000)));
});

peerTest('no request of h2load fails', 'h2load', async (t, secure) => {
  const { url } = await openSite(t, secure);
  const output = (await run('h2load', '-n400', '-c4', '-m32', url)).toString();
  t.regex(output, /400 succeeded, 0 failed, 0 errored, 0 timeout/);
});

testWith(test, 'wrk')('no request of wrk fails', async (t) => {
  const { url, handler } = await openSite(t, false);
  const output = (await run('wrk', '-t1', '-c16', '-d1s', url)).toString();
  t.regex(output, /\d+ requests in/);
  t.notRegex(output, /Socket errors|Non-2xx/);
  t.true((handler.stats().responses[200] ?? 0) > 0);
});

test('http2-wrapper negotiates HTTP/2 by ALPN', async (t) => {
  const { url, expected } = await openSite(t, true);
  const request = await auto(url, { rejectUnauthorized: false });
  request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  t.is(response.httpVersion, '2.0');
  t.true(Buffer.concat(await response.toArray()).equals(expected));
});

test('fetch of Node downloads over HTTP/1.1', async (t) => {
  const { url, expected } = await openSite(t, false);
  t.true(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(expected));
});
