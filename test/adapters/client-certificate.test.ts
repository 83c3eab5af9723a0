import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { AccessRequest } from '../../src/access/policy.js';
import { parseSubjectAltNames } from '../../src/adapters/client-certificate.js';
import type { ClientCertificate } from '../../src/contract/exchange.js';
import { createHandler } from '../../src/handler/handler.js';
import type { CacheServer } from '../../src/server/cache-server.js';
import { createServer } from '../../src/server/server.js';
import { memoryStore } from '../../src/stores/memory.js';
import { type Certificate, certificate } from '../helpers/certificate.js';
import { Authority } from '../helpers/client-certificates.js';
import { temporaryDirectory } from '../helpers/files.js';

interface Site {
  readonly authority: Authority;
  readonly directory: string;
  readonly server: CacheServer;
  readonly port: number;
  /** Certificates that the access policy received. */
  readonly received: (ClientCertificate | undefined)[];
}

async function open(t: ExecutionContext): Promise<Site> {
  const directory = await temporaryDirectory(t);
  const authority = new Authority(directory);
  const received: (ClientCertificate | undefined)[] = [];
  const access = (request: AccessRequest) => {
    received.push(request.certificate);
    return 'read' as const;
  };
  const { cert, key } = await certificate();
  const ca = await readFile(authority.path, 'utf8');
  const tls = { cert, key, ca, requestCert: true, rejectUnauthorized: false };
  const server = createServer(createHandler({ store: memoryStore(), access }), { tls });
  await server.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close({ timeoutMs: 0 }));
  return { authority, directory, server, port: (server.address() as AddressInfo).port, received };
}

type Ask = (site: Site, client?: Certificate, options?: ConnectionOptions) => Promise<number>;

const askHttp1: Ask = async ({ port }, client, options) => {
  const request = https.get({
    ...options,
    ...client,
    port,
    host: '127.0.0.1',
    path: '/key',
    rejectUnauthorized: false,
    agent: false,
  });
  const [response] = await once(request, 'response');
  response.resume();
  return response.statusCode;
};

const askHttp2: Ask = async ({ port }, client, options) => {
  const session = http2.connect(`https://127.0.0.1:${port}`, { ...options, ...client, rejectUnauthorized: false });
  session.on('error', () => {}); // the server may close the session while the client destroys it
  try {
    const [headers] = await once(session.request({ ':path': '/key' }), 'response');
    return headers[':status'];
  } finally {
    session.destroy();
  }
};

for (const [name, ask] of Object.entries({ 'HTTP/1.1': askHttp1, 'HTTP/2': askHttp2 })) {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { minVersion: version, maxVersion: version };

    test(`policies receive a verified certificate over ${name} and ${version}`, async (t) => {
      const site = await open(t);
      const client = site.authority.issue('/O=Acme/OU=a/OU=b/CN=ci-7', 'URI:spiffe://acme/ci/7,DNS:ci.example.com');
      t.is(await ask(site, client, options), 404);
      t.like(site.received[0], {
        subject: { O: 'Acme', OU: ['a', 'b'], CN: 'ci-7' },
        subjectAltNames: ['URI:spiffe://acme/ci/7', 'DNS:ci.example.com'],
      });
      t.regex(site.received[0]?.fingerprint256 ?? '', /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    });

    test(`policies receive no invalid certificate over ${name} and ${version}`, async (t) => {
      const site = await open(t);
      const stranger = new Authority(site.directory, 'stranger');
      t.is(await ask(site, undefined, options), 404, 'no certificate');
      t.is(await ask(site, stranger.issue('/CN=ci-7'), options), 404, 'unknown authority');
      t.is(await ask(site, site.authority.issue('/CN=ci-7', undefined, -1), options), 404, 'expired');
      t.deepEqual(site.received, [undefined, undefined, undefined]);
    });
  }
}

test('policies receive no certificate of another authority with the same name', async (t) => {
  const site = await open(t);
  // Over TLS 1.2, Node closes the connection.
  const options = { minVersion: 'TLSv1.3' } as const;
  t.is(await askHttp1(site, new Authority(await temporaryDirectory(t)).issue('/CN=ci-7'), options), 404);
  t.deepEqual(site.received, [undefined]);
});

test('all requests of a connection share the object of the certificate', async (t) => {
  const site = await open(t);
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const client = site.authority.issue('/CN=ci-7');
  for (let count = 0; count < 2; count++) {
    const request = https.get({
      ...client,
      port: site.port,
      host: '127.0.0.1',
      path: '/key',
      rejectUnauthorized: false,
      agent,
    });
    const [response] = await once(request, 'response');
    await once(response.resume(), 'end');
  }
  t.is(site.received.length, 2);
  t.truthy(site.received[0]);
  t.is(site.received[0], site.received[1]);
});

/** Sends a request on a new connection that may resume a session. Resolves to the session for the next one. */
async function askWithSession(
  { port }: Site,
  options: ConnectionOptions,
): Promise<{ readonly session: Buffer | undefined; readonly isResumed: boolean }> {
  const socket: TLSSocket = connect({ ...options, port, host: '127.0.0.1', rejectUnauthorized: false });
  let session: Buffer | undefined;
  socket.on('session', (data) => {
    session = data;
  });
  await once(socket, 'secureConnect');
  const isResumed = socket.isSessionReused();
  socket.write('GET /key HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
  return { session, isResumed };
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a resumed session of ${version} does not outlive its authority`, async (t) => {
    const site = await open(t);
    const options = { ...site.authority.issue('/CN=ci-7'), minVersion: version, maxVersion: version };
    const { session } = await askWithSession(site, options);
    t.truthy(session);
    const resumed = await askWithSession(site, { ...options, ...(session && { session }) });
    t.true(resumed.isResumed);
    t.is(site.received[1]?.fingerprint256, site.received[0]?.fingerprint256);
    const other = new Authority(site.directory, 'other');
    const { cert, key } = await certificate();
    site.server.setSecureContext({ cert, key, ca: await readFile(other.path, 'utf8') });
    await askWithSession(site, { ...options, ...(session && { session }) });
    t.truthy(site.received[1]);
    t.is(site.received[2], undefined);
  });
}

test('divides subject alternative names, also those that contain separators', (t) => {
  t.deepEqual(parseSubjectAltNames(''), []);
  t.deepEqual(parseSubjectAltNames('DNS:a, URI:spiffe://x/y, IP Address:127.0.0.1'), [
    'DNS:a',
    'URI:spiffe://x/y',
    'IP Address:127.0.0.1',
  ]);
  t.deepEqual(parseSubjectAltNames('DNS:"a, URI:spiffe://evil", DNS:b'), ['DNS:a, URI:spiffe://evil', 'DNS:b']);
  t.deepEqual(parseSubjectAltNames('URI:"a\\u0022, DNS:b"'), ['URI:a", DNS:b']);
});
