import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as sdk from '@aws-sdk/client-s3';
import { S3Client } from '@aws-sdk/client-s3';
import test from 'ava';
import { s3Store } from '../../../src/stores/s3/index.js';
import { s3SettingsOf } from '../../../src/stores/s3/options.js';
import { BUCKET } from '../../helpers/s3rver.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { assertBytes, clientOptions, getArtifact, MIB, read, setupFor } from './fixture.js';

const setup = setupFor(test);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const invalid = (message: RegExp) => refusal('ERR_HOTBLOB_INVALID_OPTION', message);

test('rejects invalid options and does not modify valid ones', async (t) => {
  const client = new S3Client({ region: 'us-east-1' });
  t.teardown(() => client.destroy());
  for (const [options, message] of [
    [{}, /^bucket: expected a string that is not empty, received undefined/],
    [{ bucket: '' }, /^bucket: /],
    [{ bucket: 'b', buckets: 'b' }, /^unknown option 'buckets'; expected one of bucket, prefix/],
    [{ bucket: 'b', prefix: '/a' }, /^prefix: expected segments .* received '\/a'/],
    [{ bucket: 'b', prefix: 'a/../b' }, /^prefix: /],
    [{ bucket: 'b', region: 1 }, /^region: /],
    [{ bucket: 'b', endpoint: 'minio:9000' }, /^endpoint: expected an http or https URL/],
    [{ bucket: 'b', forcePathStyle: 'yes' }, /^forcePathStyle: expected true or false/],
    [{ bucket: 'b', maxAttempts: 0 }, /^maxAttempts: expected a whole number, 1 or more/],
    [{ bucket: 'b', requestTimeoutMs: 0 }, /^requestTimeoutMs: /],
    [{ bucket: 'b', requestTimeoutMs: 2 ** 31 }, /^requestTimeoutMs: .* to 2147483647, received 2147483648/],
    [{ bucket: 'b', partBytes: 5 * MIB - 1 }, /^partBytes: expected .* from 5242880/],
    [{ bucket: 'b', partBytes: 6 * 1024 * MIB }, /^partBytes: /],
    [
      { bucket: 'b', uploadBytes: 32 * MIB - 1 },
      /^uploadBytes: expected at least twice partBytes \(33554432\), received 33554431/,
    ],
    [{ bucket: 'b', firstBytes: -1 }, /^firstBytes: /],
    [{ bucket: 'b', client, region: 'us-east-1' }, /^client: cannot be combined with region; /],
    [{ bucket: 'b', client, maxAttempts: 1 }, /^client: /],
    [{ bucket: 'b', client: {} }, /^client: expected an S3Client/],
  ] as const) {
    // @ts-expect-error the options are invalid
    await t.throwsAsync(() => s3Store(options), invalid(message));
  }
  const store = await s3Store(Object.freeze({ bucket: 'b', prefix: undefined, region: 'us-east-1' }));
  await store.close();
});

test('the option table of docs/s3.md has every option and its default', async (t) => {
  const page = await readFile(join(ROOT, 'docs/s3.md'), 'utf8');
  const [, table = ''] = /## Options\n(.*?)\n## /s.exec(page) ?? [];
  const documented = new Map(
    [...table.matchAll(/^\| `(\w+)` \| `?(.*?)`? \|/gm)].map(([, name = '', value]) => [name, value]),
  );
  // @ts-expect-error the message for an unknown option lists all options
  const error = await t.throwsAsync(() => s3Store({ bucket: 'b', none: 1 }), { name: 'HotblobError' });
  const [, names = ''] = /one of (?:the options )?([\w, ]*\w)(?=, received|$)/.exec(error?.message ?? '') ?? [];
  t.deepEqual([...documented.keys()].sort(), names.split(', ').sort());

  const { client, ...defaults } = s3SettingsOf({ bucket: 'b', region: 'us-east-1' }, sdk);
  t.teardown(() => client.destroy());
  for (const name of ['requestTimeoutMs', 'partBytes', 'firstBytes'] as const) {
    t.is(documented.get(name), `${defaults[name]}`, name);
  }
  t.is(documented.get('uploadBytes'), 'eight times `partBytes');
  t.is(defaults.uploadBytes, 8 * defaults.partBytes);
  t.is(documented.get('maxAttempts'), `${await client.config.maxAttempts()}`);
  t.is(documented.get('forcePathStyle'), `${client.config.forcePathStyle}`);
});

test('error messages show no value that may be a secret', async (t) => {
  for (const options of [
    { credentials: 'SECRET' },
    { credentials: { accessKeyId: 'SECRET' } },
    { credentials: { accessKeyId: 'SECRET', secretAccessKey: '' } },
    { endpoint: 'https://user:SECRET@minio.internal' },
    { endpoint: 'SECRET' },
    { client: { credentials: { secretAccessKey: 'SECRET' } } },
  ]) {
    // @ts-expect-error the options are invalid
    const error = await t.throwsAsync(() => s3Store({ bucket: 'b', ...options }), invalid(/^\w+: expected /));
    t.notRegex(`${error?.stack}`, /SECRET/);
  }
});

test('uses a given client and does not destroy it', async (t) => {
  const { proxy, prefix, keys } = await setup(t);
  const agent = new Agent({ keepAlive: true });
  const client = new S3Client({ ...clientOptions(proxy), maxAttempts: 2, requestHandler: { httpAgent: agent } });
  t.teardown(() => client.destroy());
  for (const key of ['a', 'b']) {
    const store = await s3Store({ bucket: BUCKET, prefix, client });
    const bytes = content(200_000);
    await put(store, key, bytes);
    assertBytes(t, await read(await getArtifact(store, key)), bytes);
    await store.close();
    // Its connections are still open.
    const free = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
    t.true(free.some(({ destroyed }) => !destroyed));
  }
  t.deepEqual(await keys(), ['a', 'b']);
  const store = await s3Store({ bucket: BUCKET, prefix, client });
  proxy.clear();
  proxy.fault = () => ({ status: 503, code: 'SlowDown' });
  await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_OVERLOADED'));
  t.is(proxy.requests.length, 2);
});

test('stores every key as a separate object below the prefix', async (t) => {
  const { store, proxy, prefix, keys } = await setup(t);
  const names = [
    'plain',
    'with/slashes/in/it',
    'a b+c',
    '100%',
    '%41',
    'a?b=c&d#e',
    "it's (a) *star*!~",
    'ä/ö/漢字/🚀',
    '..a/b../...',
    'x:y@z,$;=',
    'A',
    'a',
    'k'.repeat(200),
  ];
  for (const [index, name] of names.entries()) await put(store, name, content(100, index));
  for (const [index, name] of names.entries())
    assertBytes(t, await read(await getArtifact(store, name)), content(100, index));
  t.deepEqual(new Set(proxy.requests.map(({ key }) => key)), new Set(names.map((name) => `${prefix}/${name}`)));
  t.deepEqual(await keys(), names.toSorted());
  for (const name of names) t.true(await store.delete(name));
  t.deepEqual(await keys(), []);
});

test('rejects invalid keys without a request', async (t) => {
  const { store, proxy, prefix } = await setup(t);
  const longest = 'k'.repeat(1024 - prefix.length - 1);
  for (const [key, code] of [
    ['../a', 'ERR_HOTBLOB_INVALID_KEY'],
    ['a//b', 'ERR_HOTBLOB_INVALID_KEY'],
    ['', 'ERR_HOTBLOB_INVALID_KEY'],
    ['half \ud83d', 'ERR_HOTBLOB_INVALID_KEY'],
    [`${longest}k`, 'ERR_HOTBLOB_KEY_TOO_LONG'],
  ] as const) {
    for (const task of [() => store.get(key), () => put(store, key, 'x'), () => store.delete(key)]) {
      await t.throwsAsync(task, refusal(code));
    }
  }
  t.deepEqual(proxy.operations, []);
  proxy.fault = () => ({ status: 404, code: 'NoSuchKey' });
  t.is(await store.get(longest), undefined);
});

test('accepts no prefix, an empty one, and one with trailing slashes', async (t) => {
  const { proxy } = await setup(t);
  for (const [prefix, key] of [
    [undefined, 'a/b'],
    ['', 'a/b'],
    ['p/q//', 'p/q/a/b'],
  ] as const) {
    proxy.clear();
    const store = await s3Store({ ...clientOptions(proxy), bucket: BUCKET, prefix });
    t.is(await store.get('a/b'), undefined);
    t.deepEqual(
      proxy.requests.map((request) => request.key),
      [key],
    );
    await store.close();
  }
});

test('names the package to install if the SDK is missing', async (t) => {
  const directory = await temporaryDirectory(t);
  await cp(join(ROOT, 'src'), join(directory, 'src'), { recursive: true });
  const require = createRequire(import.meta.url);
  // Every dependency of the source except the SDK.
  const debug = dirname(require.resolve('debug/package.json'));
  await cp(debug, join(directory, 'node_modules/debug'), { recursive: true });
  await symlink(dirname(require.resolve('ms/package.json')), join(directory, 'node_modules/ms'));
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  const program = `
    import { s3Store } from './src/stores/s3/index.ts';
    s3Store({ bucket: 'b' }).catch(({ code, message, cause }) => console.log(JSON.stringify([code, message, cause.code])));
  `;
  await writeFile(join(directory, 'program.ts'), program);
  const tsx = require.resolve('tsx');
  const child = spawn(process.execPath, [`--import=${tsx}`, 'program.ts'], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  t.deepEqual(await once(child, 'close'), [0, null]);
  const [code, message, cause] = JSON.parse(output);
  t.is(code, 'ERR_HOTBLOB_INVALID_OPTION');
  t.regex(message, /npm install @aws-sdk\/client-s3/);
  t.is(cause, 'ERR_MODULE_NOT_FOUND');
});
