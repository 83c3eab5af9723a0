import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { serve } from '../../src/cli/serve/serve.js';
import { TrustedProxies } from '../../src/cli/serve/trusted-proxies.js';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { certificate } from '../helpers/certificate.js';
import { runCommand } from '../helpers/command-line.js';
import { NGINX, testWith } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const run = promisify(execFile);
const read = (name: string): Promise<string> => readFile(`examples/deploy/${name}`, 'utf8');

/** Environment and arguments of the server in each file that starts one. */
const STARTS: Readonly<Record<string, (text: string) => { env: Record<string, string>; args: string[] }>> = {
  'hotblob.service': (text) => ({ env: pairs(text, /^Environment=(\w+)=(.*)$/gm), args: [] }),
  Dockerfile: (text) => ({ env: pairs(text, /^(?:ENV|) +(HOTBLOB_\w+)=(\S+)/gm), args: [] }),
  'compose.yaml': (text) => ({ env: pairs(text, /^ +(HOTBLOB_\w+): "?([^"\n]*)"?$/gm), args: [] }),
  'kubernetes.yaml': (text) => ({
    env: {},
    args: JSON.parse(/args: (\[.*\])/.exec(text)?.[1]?.replaceAll("'", '"') ?? ''),
  }),
};

function pairs(text: string, pattern: RegExp): Record<string, string> {
  return Object.fromEntries(Array.from(text.matchAll(pattern), ([, name = '', value = '']) => [name, value]));
}

test('every file of the directory is tested or says that it has not been run', async (t) => {
  for (const name of await readdir('examples/deploy')) {
    if (name in STARTS || name === 'nginx.conf') continue;
    t.regex(await read(name), /has not been run/, name);
  }
});

for (const [name, parse] of Object.entries(STARTS)) {
  test(`${name} uses options that exist, with valid values`, async (t) => {
    const { env, args } = parse(await read(name));
    t.true(Object.keys(env).length + args.length >= 3, name);
    const { code, stdout, stderr } = await runCommand(['serve', '--print-config', ...args], { env });
    t.is(code, 0, stderr);
    t.is(stderr, '');
    const sources = stdout.split('\n').map((line) => line.split(/ {2,}/)[1]);
    const given = new Set(sources.filter((source) => source !== undefined && source !== 'default'));
    const expected = Object.keys(env).filter((variable) => variable.startsWith('HOTBLOB_'));
    t.deepEqual([...given].filter((source) => source !== 'command line').sort(), expected.sort());
  });
}

testWith(test, 'systemd')('systemd accepts the unit, and its sandbox is tight', async (t) => {
  const { stderr } = await run('systemd-analyze', ['verify', './examples/deploy/hotblob.service']);
  t.is(
    stderr
      .split('\n')
      .filter((line) => line.includes('hotblob.service'))
      .join('\n'),
    '',
  );
  const { stdout } = await run('systemd-analyze', ['security', '--offline=true', './examples/deploy/hotblob.service']);
  const exposure = Number(/exposure level for hotblob\.service: ([\d.]+)/.exec(stdout)?.[1]);
  t.true(exposure < 3, `${exposure}`);
});

testWith(test, 'nginx')('behind nginx with the example, large uploads and downloads pass over HTTP/2', async (t) => {
  const dir = await temporaryDirectory(t);
  const log = `${dir}/access.log`;
  const server = await serve({
    version: '0.0.0',
    kind: 'directory',
    dir: `${dir}/artifacts`,
    immutable: undefined,
    verifyReads: undefined,
    maxBytes: undefined,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: ['nx'],
    access: undefined,
    allowedHosts: ['cache.example.com'],
    accessLog: { path: log, format: 'json' },
    trustedProxies: new TrustedProxies(['loopback']),
    tls: undefined,
  });
  t.teardown(() => server.close());
  const port = await startNginx(t, dir, server.port);
  const { cert } = await certificate();
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca: cert });
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  const send = async (method: string, body?: Buffer) => {
    const stream = session.request({
      ':method': method,
      ':path': '/v1/cache/1',
      ':authority': 'cache.example.com',
      'x-forwarded-for': '203.0.113.9',
    });
    stream.end(body);
    const [headers] = await once(stream, 'response');
    return { status: headers[':status'], id: headers['x-request-id'], body: Buffer.concat(await stream.toArray()) };
  };
  const bytes = content(30_000_000);
  t.is((await send('PUT', bytes)).status, 200);
  const { status, id, body } = await send('GET');
  t.is(status, 200);
  t.true(body.equals(bytes));
  await until('both requests are in the log', async () => (await readFile(log, 'utf8')).split('\n').length === 3);
  const entries = (await readFile(log, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.like(entries[1], { id, status: 200, bytes: bytes.byteLength });
  // The client of nginx, not the address that this client has invented.
  t.true(entries.every(({ client }) => client === '127.0.0.1'));
});

/** Starts nginx with the example, with other addresses and certificates. */
async function startNginx(t: ExecutionContext, dir: string, upstreamPort: number): Promise<number> {
  const { cert, key } = await certificate();
  await writeFile(`${dir}/cert.pem`, cert);
  await writeFile(`${dir}/key.pem`, key);
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo; // a server that listens on a port has an AddressInfo
  await new Promise((resolve) => probe.close(resolve));
  const example = (await read('nginx.conf'))
    .replace('127.0.0.1:8080', `127.0.0.1:${upstreamPort}`)
    .replace('listen 443', `listen 127.0.0.1:${port}`)
    .replace('/etc/ssl/cache.example.com.pem', `${dir}/cert.pem`)
    .replace('/etc/ssl/cache.example.com.key', `${dir}/key.pem`);
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  await writeFile(
    `${dir}/nginx.conf`,
    `${user} daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log; events {}
    http {
      access_log off;
      client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi;
      uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
      ${example}
    }`,
  );
  const child = spawn(NGINX, ['-p', dir, '-c', `${dir}/nginx.conf`], { stdio: 'ignore' });
  t.teardown(async () => {
    if (child.exitCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  });
  await until('nginx listens', async () => {
    const socket = net.connect(port, '127.0.0.1');
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    return isOpen;
  });
  return port;
}
