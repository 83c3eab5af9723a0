import http2 from 'node:http2';
import { join } from 'node:path';
import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { openAccess } from '../../src/cli/serve/open-access.js';
import { parseServeOptions } from '../../src/cli/serve/serve-options.js';
import { startWarnings } from '../../src/cli/serve/start-warnings.js';
import { createDashboard } from '../../src/dashboard/dashboard.js';
import { createHandler } from '../../src/handler/handler.js';
import { createMetrics } from '../../src/metrics/metrics.js';
import { bazel } from '../../src/protocols/index.js';
import { createServer } from '../../src/server/index.js';
import { memoryStore } from '../../src/stores/memory.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import { didYouMean } from '../../src/util/closest-name.js';
import { certificate } from '../helpers/certificate.js';
import { temporaryDirectory } from '../helpers/files.js';
import { startServer } from '../helpers/servers.js';

/** Calls `create` with arguments that TypeScript would refuse. */
function wrongly(create: (...args: never[]) => unknown, ...args: readonly unknown[]): () => unknown {
  return () => create(...(args as never[]));
}

test('a store or a handler in place of the options that contain it is named, with the form of the options', async (t) => {
  const store = memoryStore();
  const handler = createHandler({ store });
  t.teardown(() => handler.close());
  const mistakes: [() => unknown, string][] = [
    [wrongly(createHandler, store), '{ store }'],
    [wrongly(createHandler), '{ store }'],
    [wrongly(createMetrics, handler), '{ handlers: { cache: handler } }'],
    [wrongly(createDashboard, handler), '{ handler }'],
  ];
  for (const [mistake, form] of mistakes) {
    const error = t.throws(mistake, { code: 'ERR_HOTBLOB_INVALID_OPTION' });
    t.true(error?.message.startsWith(`options: expected an object such as ${form}, received `), error?.message);
  }
  await t.throwsAsync(tieredStore(store as never), {
    message: /^options: expected an object such as \{ local, remote \}/,
  });
  t.throws(wrongly(staticTokens, ['secret']), {
    message: "tokens[0]: expected an object such as { token, level: 'read' }, received a string (not shown)",
  });
});

test('a server says that port and host belong to listen, and that a certificate is not a path', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  t.throws(wrongly(createServer, handler, { port: 8080 }), {
    message: /^unknown option 'port'; expected one of .*; pass port to server\.listen\(\{ port \}\)$/,
  });
  const { cert, key } = await certificate();
  for (const tls of [
    { cert: './cert.pem', key },
    { cert, key: './key.pem' },
  ]) {
    const error = t.throws(() => createServer(handler, { tls }), { code: 'ERR_HOTBLOB_INVALID_OPTION' });
    t.regex(
      error?.message ?? '',
      /^tls\.(cert|key): expected the contents of a PEM file, .* received (10|9) characters without/,
    );
    t.false(error?.message.includes('./'));
  }
});

test('the value of --tokens that is a token, and an unused token for an upstream, are named', async (t) => {
  const dir = await temporaryDirectory(t);
  const tokens = join(dir, 'secret');
  await t.throwsAsync(
    openAccess({ tokens, oidc: undefined, anonymous: undefined }, () => {}),
    {
      message: /^--tokens: .*expected the path of a file with lines such as 'write TOKEN'$/,
    },
  );
  process.env['HOTBLOB_UPSTREAM_TOKEN'] = 'secret';
  t.teardown(() => {
    delete process.env['HOTBLOB_UPSTREAM_TOKEN'];
  });
  const warningsFor = (values: Parameters<typeof parseServeOptions>[1]) =>
    startWarnings(parseServeOptions('0.0.0', { dir, ...values }), undefined);
  t.deepEqual(await warningsFor({}), ['HOTBLOB_UPSTREAM_TOKEN is ignored: it is for --upstream, which is not given']);
  t.deepEqual(await warningsFor({ upstream: 'http://127.0.0.1:1' }), []);
});

test('a name without its separators is recognised', (t) => {
  t.is(didYouMean('writeback', ['read', 'write', 'write-back']), ' (did you mean write-back?)');
  t.is(didYouMean('writeBack', ['write', 'write-back']), ' (did you mean write-back?)');
  t.is(didYouMean('writ', ['read', 'write', 'write-back']), ' (did you mean write?)');
});

test('a client that speaks gRPC to the protocol of Bazel is told to use HTTP', async (t) => {
  const handler = createHandler({ store: memoryStore(), protocols: [bazel()] });
  t.teardown(() => handler.close());
  const { port } = await startServer(t, 'h2c', handler);
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.teardown(() => session.destroy());
  const stream = session.request({
    ':method': 'POST',
    ':path': '/build.bazel.remote.execution.v2.Capabilities/GetCapabilities',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const headers = await new Promise<http2.IncomingHttpHeaders>((resolve) => {
    stream.once('response', resolve).end(Buffer.alloc(5));
  });
  t.is(headers['grpc-status'], '12');
  t.regex(String(headers['grpc-message']), /--remote_cache=http:/);
});
