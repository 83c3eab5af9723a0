import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly line: string;
  readonly url: string;
  readonly dir: string;
}

/** Starts `hotblob serve`. Strings are arguments, an object contains environment variables. */
async function start(t: ExecutionContext, ...settings: (string | Record<string, string>)[]): Promise<Running> {
  const args = settings.filter((each) => typeof each === 'string');
  const environment = Object.assign({}, process.env, ...settings.filter((each) => typeof each === 'object'));
  const dir = await mkdtemp(`${tmpdir()}/hotblob-cli-`);
  const child = spawn(process.execPath, ['dist/cli.js', 'serve', '--dir', `${dir}/artifacts`, '--port', '0', ...args], {
    env: environment,
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await rm(dir, { recursive: true });
  });
  const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  const url = /https?:\/\/\S+/.exec(line)?.[0] ?? '';
  return { child, line, url, dir: `${dir}/artifacts` };
}

async function bytesOf(url: string): Promise<Buffer> {
  const response = await fetch(url);
  if (response.status !== 200) throw new Error(`${response.status} for ${url}`);
  return Buffer.from(await response.arrayBuffer());
}

async function run(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, ['dist/cli.js', ...args]);
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, output: Buffer.concat(output).toString() };
}

test('serve creates its directory, prints its configuration, stores an upload and serves it', async (t) => {
  const { url, line, dir } = await start(t, '--store', 'directory');
  t.regex(
    line,
    /^hotblob listening on http:\/\/127\.0\.0\.1:\d+ \(store: directory; protocols: tuist, turborepo, .*plain; mapping: .*; page-cache copy: .*; memory sensor: .*\)$/,
  );
  const body = Buffer.alloc(300_000, 'artifact');
  t.is((await fetch(`${url}/a/b`, { method: 'PUT', body })).status, 200);
  t.deepEqual(Buffer.from(await (await fetch(`${url}/a/b`)).arrayBuffer()), body);
  t.deepEqual(await readFile(`${dir}/a/b`), body);
  t.deepEqual(await readdir(`${dir}/.hotblob/uploads`), []);
  t.is((await fetch(`${url}/.hotblob/immutable`)).status, 400);
});

test('without --dir, ./artifacts is served', async (t) => {
  const directory = await mkdtemp(`${tmpdir()}/hotblob-cli-`);
  const child = spawn(process.execPath, [resolve('dist/cli.js'), 'serve', '--port', '0'], { cwd: directory });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await rm(directory, { recursive: true });
  });
  await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  t.deepEqual(await readdir(directory), ['artifacts']);
});

test('a new directory becomes a segment store that survives SIGKILL; verify finds a corrupt artifact in it', async (t) => {
  const { url, line, dir, child } = await start(t);
  t.regex(line, /\(store: segments; /);
  const bodies = Array.from({ length: 20 }, (_, index) => Buffer.alloc(5000 + index, `artifact ${index}`));
  for (const [index, body] of bodies.entries()) {
    t.is((await fetch(`${url}/key/${index}`, { method: 'PUT', body })).status, 200);
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  const intact = await run('verify', dir);
  t.is(intact.code, 0, intact.output);
  t.regex(intact.output, /^20 artifacts, [\d,]+ bytes: no problems found\n$/);

  const [name = ''] = await readdir(`${dir}/segments`);
  const segment = await readFile(`${dir}/segments/${name}`);
  const at = segment.indexOf(bodies[7] ?? '');
  segment.write('corrupt', at + 100);
  await writeFile(`${dir}/segments/${name}`, segment);
  const corrupt = await run('verify', dir);
  t.is(corrupt.code, 1);
  t.regex(corrupt.output, /key\/7.*\n20 artifacts, [\d,]+ bytes: 1 problem found\n$/);

  const again = spawn(process.execPath, ['dist/cli.js', 'serve', '--dir', dir, '--port', '0']);
  t.teardown(() => again.kill('SIGKILL'));
  const { value = '' } = await createInterface(again.stdout)[Symbol.asyncIterator]().next();
  const response = await fetch(`${/https?:\/\/\S+/.exec(value)?.[0]}/key/3`);
  t.deepEqual(Buffer.from(await response.arrayBuffer()), bodies[3]);
  const second = spawn(process.execPath, ['dist/cli.js', 'serve', '--dir', dir, '--port', '0']);
  t.teardown(() => second.kill('SIGKILL'));
  const notice = createInterface(second.stderr)[Symbol.asyncIterator]().next();
  const { value: listening = '' } = await createInterface(second.stdout)[Symbol.asyncIterator]().next();
  t.regex((await notice).value ?? '', /is served read-only, uploads are refused: another process writes to it$/);
  const readerUrl = /https?:\/\/\S+/.exec(listening)?.[0];
  t.is((await fetch(`${readerUrl}/key/4`)).status, 200);
  t.is((await fetch(`${readerUrl}/key/new`, { method: 'PUT', body: 'x' })).status, 405);
});

for (const kind of ['directory', 'segments']) {
  test(`with an upstream, misses are fetched from it and stored, and uploads are sent to both (${kind})`, async (t) => {
    const far = await start(t, '--max-size', '1GiB');
    const near = await start(t, '--store', kind, '--max-size', '1GiB', '--upstream', `${far.url}/shared`);
    t.true(near.line.includes(`; upstream: ${far.url}; `));
    const body = Buffer.alloc(300_000, 'artifact');
    t.is((await fetch(`${far.url}/shared/a`, { method: 'PUT', body })).status, 200);
    t.deepEqual(await bytesOf(`${near.url}/a`), body);
    t.is((await fetch(`${near.url}/b/c`, { method: 'PUT', body })).status, 200);
    t.deepEqual(await bytesOf(`${far.url}/shared/b/c`), body);
    t.is((await fetch(`${near.url}/nothing`)).status, 404);

    far.child.kill('SIGKILL');
    await once(far.child, 'exit');
    t.deepEqual(await bytesOf(`${near.url}/a`), body);
    t.deepEqual(await bytesOf(`${near.url}/b/c`), body);
    t.is((await fetch(`${near.url}/never/asked/for`)).status, 404);
    near.child.kill('SIGTERM');
    t.deepEqual(await once(near.child, 'exit'), [0, null]);
  });
}

test('--upstream-mode decides whether and when an upstream receives uploads', async (t) => {
  const far = await start(t, '--store', 'directory');
  for (const [mode, isExpected] of [
    ['read', false],
    ['write', true],
    ['write-back', true],
  ] as const) {
    const near = await start(t, '--upstream', far.url, '--upstream-mode', mode);
    t.is((await fetch(`${near.url}/${mode}`, { method: 'PUT', body: mode })).status, 200);
    t.is((await bytesOf(`${near.url}/${mode}`)).toString(), mode);
    const isSent = async () => (await fetch(`${far.url}/${mode}`)).ok;
    if (mode === 'write-back') await until('the upload is sent', isSent);
    t.is(await isSent(), isExpected, mode);
    near.child.kill('SIGTERM');
    await once(near.child, 'exit');
  }
});

test('downloads are complete if the temporary directory cannot be written, and --spool-dir must be writable', async (t) => {
  const far = await start(t);
  const body = Buffer.alloc(1_000_000, 'artifact');
  t.is((await fetch(`${far.url}/a`, { method: 'PUT', body })).status, 200);
  for (const kind of ['directory', 'segments']) {
    const near = await start(t, '--store', kind, '--upstream', far.url, { TMPDIR: '/proc' });
    for (let count = 0; count < 2; count++) t.deepEqual(await bytesOf(`${near.url}/a`), body);
    near.child.kill('SIGTERM');
    t.deepEqual(await once(near.child, 'exit'), [0, null]);
  }
  const refused = await run(
    ...['serve', '--dir', `${far.dir}-refused`, '--port', '0', '--upstream', far.url, '--spool-dir', '/proc'],
  );
  t.is(refused.code, 1);
  t.regex(refused.output, /^hotblob: --spool-dir: expected a writable directory, received '\/proc'/);
});

test('the upstream receives the token from HOTBLOB_UPSTREAM_TOKEN', async (t) => {
  const seen: (string | undefined)[] = [];
  const peer = http.createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(404).end();
  });
  await once(peer.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => peer.close());
  const { port } = peer.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const { url } = await start(t, '--upstream', `http://127.0.0.1:${port}`, {
    HOTBLOB_UPSTREAM_TOKEN: 'of-the-upstream',
  });
  t.is((await fetch(`${url}/a`)).status, 404);
  t.deepEqual(seen, ['Bearer of-the-upstream']);
});

test('all protocols are served, or only those in --protocol', async (t) => {
  const all = await start(t);
  const body = Buffer.alloc(1000, 'artifact');
  for (const path of ['/v8/artifacts/abc?slug=acme', '/v1/cache/123', `/gradle/${'0'.repeat(32)}`, '/any/key']) {
    t.true((await fetch(all.url + path, { method: 'PUT', body })).ok, path);
    t.deepEqual(await bytesOf(all.url + path), body);
  }
  t.is((await fetch(`${all.url}/nx/123`)).status, 400, 'the key that nx uses in the store');
  const { url, line } = await start(t, '--protocol', 'nx,gradle');
  t.regex(line, /; protocols: nx, gradle; /);
  t.is((await fetch(`${url}/v1/cache/123`, { method: 'PUT', body })).status, 200);
  for (const path of ['/v8/artifacts/abc', '/any/key']) {
    t.is((await fetch(url + path, { method: 'PUT', body })).status, 404, path);
  }
});

test('tokens grant read or write access, and a changed token file is reloaded', async (t) => {
  const file = `${await temporaryDirectory(t)}/tokens`;
  await writeFile(file, 'write ci-0b6f2c9a41d84e57\nread dev-55c1a8e07b3f9d24 # a developer\n', { mode: 0o600 });
  const { url } = await start(t, '--host', '0.0.0.0', '--tokens', file);
  const key = `${url.replace('0.0.0.0', '127.0.0.1')}/key`;
  const ask = async (method: string, token?: string) => {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return (await fetch(key, { method, headers, ...(method === 'PUT' ? { body: 'x' } : {}) })).status;
  };
  t.is(await ask('PUT', 'ci-0b6f2c9a41d84e57'), 200);
  t.is(await ask('PUT', 'dev-55c1a8e07b3f9d24'), 403);
  t.is(await ask('GET', 'dev-55c1a8e07b3f9d24'), 200);
  t.is(await ask('GET'), 401);
  await writeFile(`${file}.new`, 'read of-everybody-else-0123\n');
  await rename(`${file}.new`, file);
  await until('the new tokens are in effect', async () => (await ask('GET', 'of-everybody-else-0123')) === 200);
  t.is(await ask('PUT', 'ci-0b6f2c9a41d84e57'), 401);
  const open = await start(t, '--tokens', file, '--anonymous', 'read');
  t.is((await fetch(`${open.url}/key`)).status, 404);
  t.is((await fetch(`${open.url}/key`, { method: 'PUT', body: 'x' })).status, 403);
});

test('problems of the token file are on stderr, and the last valid tokens stay', async (t) => {
  const file = `${await temporaryDirectory(t)}/tokens`;
  const token = 'ci-0b6f2c9a41d84e57';
  await writeFile(file, `write ${token}\nwrite ${token}1`, { mode: 0o600 });
  const { child, url } = await start(t, '--tokens', file);
  const lines: string[] = [];
  createInterface(child.stderr).on('line', (line) => lines.push(line));
  const check = async (count: number) => {
    await until(`${count} lines`, async () => {
      t.is((await fetch(`${url}/key`, { headers: { authorization: `Bearer ${token}` } })).status, 404);
      return lines.length >= count;
    });
    t.is(lines.length, count, lines.join('\n'));
  };
  await check(1);
  t.is(lines[0], `hotblob: ${file}:2: the last line is not used, because it does not end with a newline`);
  await writeFile(`${file}.new`, `write ${token} protocols=turbo\n`);
  await rename(`${file}.new`, file);
  await check(2);
  t.regex(
    lines[1] ?? '',
    /^hotblob: .*tokens:1: protocols=: .*did you mean turborepo\?.*last valid tokens are accepted/,
  );
  await rm(file);
  await check(3);
  t.regex(lines[2] ?? '', /^hotblob: .*tokens: cannot read the file: ENOENT/);
  t.false(lines.join().includes(token));
});

test('on a non-loopback address, uploads are refused without --writable', async (t) => {
  const closed = await start(t, '--host', '0.0.0.0');
  const put = (url: string) => fetch(`${url.replace('0.0.0.0', '127.0.0.1')}/key`, { method: 'PUT', body: 'x' });
  const refused = await put(closed.url);
  t.is(refused.status, 405);
  t.is(refused.headers.get('allow'), 'GET, HEAD');
  t.regex(await refused.text(), /read-only\. .* accepts uploads with --tokens, --oidc or --writable/);
  t.is((await put((await start(t, '--host', '0.0.0.0', '--writable')).url)).status, 200);
});

test('on SIGTERM, /ready answers 503, responses in flight complete and the exit code is 0', async (t) => {
  const { child, url, dir } = await start(t, '--store', 'directory');
  t.is((await fetch(`${url}/_hotblob/ready`)).status, 200);
  const exit = once(child, 'exit');
  const size = 32 * 1024 * 1024;
  await writeFile(`${dir}/large`, Buffer.alloc(size, 'x'));
  const [response] = (await once(http.get(`${url}/large`), 'response')) as [IncomingMessage];
  let received = 0;
  response.once('data', (chunk: Buffer) => {
    received += chunk.byteLength;
    response.pause();
    child.kill('SIGTERM');
  });
  const isDraining = async (): Promise<boolean> => (await fetch(`${url}/_hotblob/ready`)).status === 503;
  while (!(await isDraining()));
  response.on('data', (chunk: Buffer) => {
    received += chunk.byteLength;
  });
  response.resume();
  await once(response, 'end');
  t.is(received, size);
  const [code] = (await exit) as [number];
  t.is(code, 0);
});

test('an error is printed without a stack trace, and the exit code tells usage errors from failures', async (t) => {
  t.regex((await run('--version')).output, /^\d+\.\d+\.\d+\n$/);
  const cases: [string[], number, RegExp][] = [
    [[], 2, /missing command; expected one of serve, .*doctor\nRun 'hotblob --help' for usage\./],
    [['sevre'], 2, /unknown command 'sevre' \(did you mean serve\?\); expected one of serve, /],
    [['--port', '1'], 2, /expected a command before --port, such as hotblob serve --port/],
    [['help', 'sevre'], 2, /unknown command 'sevre'/],
    [
      ['serve', '--prot', '1'],
      2,
      /serve: unknown option --prot \(did you mean --protocol\?\); expected one of --dir, /,
    ],
    [['serve', '--json'], 2, /serve: unknown option --json; expected one of/],
    [['verify', '--json', '.'], 2, /verify: unknown option --json; this command has no options/],
    [['verify'], 2, /verify: expected one directory/],
    [['serve', 'here'], 2, /serve: unexpected argument 'here'; the directory is an option: --dir here/],
    [['doctor', '--watch'], 2, /doctor: unknown option --watch; expected one of --json, --dir, /],
    [['serve', '--port', '99999'], 2, /--port: expected an integer from 0 to 65535, received '99999'/],
    [['serve', '--max-connections', '0'], 2, /--max-connections: expected an integer from 1 to \d+, received '0'/],
    [['serve', '--allow-host', 'a', '--allow-host', 'b:80'], 2, /--allow-host: expected a host name .*received 'b:80'/],
    [['serve', '--max-size', 'huge'], 2, /--max-size: expected a size such as 50GiB, received 'huge'/],
    [['serve', '--store', 'cloud'], 2, /--store: unknown kind 'cloud'; expected one of directory, segments/],
    [['serve', '--upstream', 'ftp://user:secret@host'], 2, /--upstream: expected an http: or https: URL/],
    [['serve', '--protocol', 'nx,make'], 2, /--protocol: unknown protocol 'make'; expected one of tuist, turborepo, /],
    [['serve', '--anonymous', 'read'], 2, /--anonymous requires --tokens or --oidc/],
    [
      ['serve', '--tokens', 'package.json', '--anonymous', 'all'],
      2,
      /--anonymous: unknown level 'all'; expected one of none, read, write/,
    ],
    [['serve', '--tokens', 'package.json', '--port', '0'], 1, /package\.json.*1/],
    [
      ['verify', '.'],
      1,
      /^hotblob: \.: expected a segment store; a directory with one file per artifact has no checksums/,
    ],
    [['verify', 'absent'], 1, /ENOENT.*absent/],
    [['stats', '8080'], 2, /expected a URL such as http:\/\/127\.0\.0\.1:8080, received a number/],
    [['serve', '--max-size', '5', 'GB'], 2, /unexpected argument 'GB'; write a size without a blank, such as 50GiB/],
    [['serve', '--dir', 'a', '--dir', 'b'], 2, /--dir: expected once, received several times/],
    [['serve', '--tls-cert', 'x'], 2, /--tls-cert requires --tls-key/],
    [['serve', '--dir', 'package.json', '--port', '0'], 1, /--dir: expected a directory that can be read or created/],
    [
      ['serve', '--dir', 'package.json/child', '--store', 'segments', '--port', '0'],
      1,
      /--dir: expected a directory, /,
    ],
    // The system reports ENOENT for a new directory in /proc, and ENOTDIR for one below /dev/null.
    [['serve', '--dir', '/proc/hotblob', '--store', 'directory', '--port', '0'], 1, /--dir: .*received \w+ at '\/proc/],
    [['serve', '--dir', '/proc/hotblob', '--store', 'segments', '--port', '0'], 1, /--dir: .*received \w+ at '\/proc/],
    [['serve', '--dir', '/dev/null/child', '--port', '0'], 1, /--dir: expected a directory .*received a file at/],
  ];
  for (const [args, code, message] of cases) {
    const result = await run(...args);
    t.is(result.code, code, result.output);
    t.regex(result.output, message);
    t.notRegex(result.output, /\n {4}at |secret/);
  }
});
