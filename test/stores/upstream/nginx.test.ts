import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { certificate } from '../../helpers/certificate.js';
import { NGINX, testWith } from '../../helpers/peers.js';
import { until } from '../../helpers/poll.js';
import { content, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { lookUp, read, streamOf } from './fixture.js';

const LARGE = content(5_000_000);

const SERVERS = {
  'HTTP/1.1': { listen: '', scheme: 'http', h2c: undefined },
  h2c: { listen: 'http2', scheme: 'http', h2c: true },
  'HTTP/2 by ALPN': { listen: 'ssl http2', scheme: 'https', h2c: undefined },
  'HTTP/1.1 by ALPN': { listen: 'ssl', scheme: 'https', h2c: undefined },
} as const;

for (const [name, { listen, scheme, h2c }] of Object.entries(SERVERS)) {
  testWith(test, 'nginx')(`stores, reads and deletes artifacts in nginx with WebDAV over ${name}`, async (t) => {
    const port = await startNginx(t, listen);
    const { cert } = await certificate();
    const url = `${scheme}://user:pass@127.0.0.1:${port}/cache/`;
    const store = upstreamStore(url, { h2c, ca: scheme === 'https' ? cert : undefined });
    t.teardown(() => store.close());

    t.is(await store.get('a/b', { signal: never() }), undefined);
    t.deepEqual(await put(store, 'a/b', LARGE), { created: true, etag: undefined });
    t.is((await store.put('a/b', streamOf(LARGE), { signal: never() })).created, undefined);
    const artifact = await lookUp(store, 'a/b');
    t.is(artifact.size, LARGE.byteLength);
    t.regex(artifact.etag ?? '', /^"[0-9a-f]+-[0-9a-f]+"$/);
    t.true(LARGE.equals(await read(artifact)));
    t.true(LARGE.subarray(1000, 4_000_000).equals(await read(artifact, { start: 1000, end: 4_000_000 })));
    await put(store, 'odd key/%?', 'x');
    t.is((await read(await lookUp(store, 'odd key/%?'))).toString(), 'x');
    t.true(await store.delete('a/b'));
    t.false(await store.delete('a/b'));
    t.is(await store.get('a/b', { signal: never() }), undefined);

    const anonymous = upstreamStore(`${scheme}://127.0.0.1:${port}/cache/`, {
      h2c,
      ca: scheme === 'https' ? cert : undefined,
    });
    t.teardown(() => anonymous.close());
    await t.throwsAsync(anonymous.get('a/b', { signal: never() }), refusal('ERR_HOTBLOB_UPSTREAM_DENIED'));
  });
}

async function startNginx(t: ExecutionContext, listen: string): Promise<number> {
  const directory = await temporaryDirectory(t);
  const { cert, key } = await certificate();
  const port = await freePort();
  await mkdir(`${directory}/files/cache`, { recursive: true });
  await writeFile(`${directory}/cert.pem`, cert);
  await writeFile(`${directory}/key.pem`, key);
  // user:pass
  await writeFile(`${directory}/passwords`, 'user:{PLAIN}pass\n');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  await writeFile(
    `${directory}/nginx.conf`,
    `${user} daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/error.log; events {}
    http {
      access_log off;
      client_body_temp_path ${directory}/body;
      proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
      uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
      server {
        listen 127.0.0.1:${port} ${listen};
        ${listen.includes('ssl') ? `ssl_certificate ${directory}/cert.pem; ssl_certificate_key ${directory}/key.pem;` : ''}
        root ${directory}/files;
        client_max_body_size 0;
        location / {
          dav_methods PUT DELETE;
          create_full_put_path on;
          auth_basic cache;
          auth_basic_user_file ${directory}/passwords;
        }
      }
    }`,
  );
  const nginx = spawn(NGINX, ['-p', directory, '-c', `${directory}/nginx.conf`, '-e', `${directory}/error.log`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const closed = once(nginx, 'close');
  t.teardown(async () => {
    nginx.kill('SIGKILL');
    await closed;
  });
  await until('nginx listens', () => nginx.exitCode !== null || canConnect(port));
  if (nginx.exitCode !== null) throw new Error(`nginx exited with code ${nginx.exitCode}`);
  return port;
}

/** Returns a port that was free a moment ago: nginx cannot report a port that the kernel chose. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo; // a server that listens on a port
  server.close();
  await once(server, 'close');
  return port;
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}
