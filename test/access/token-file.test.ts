import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { AccessDecision, AccessPolicy } from '../../src/access/policy.js';
import { DEFAULT_MAX_STALE_MS } from '../../src/access/policy-file.js';
import { openTokenFile, type TokenFileOptions, tokenFile } from '../../src/access/token-file.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { accessRequest, captureLog } from './fixture.js';
import { mapForWriting } from './mapped-writer.js';

const OLD = 'S3CRET-old-0123456789';
const NEW = 'S3CRET-new-0123456789';

/** Token file with its policy and a clock that the test sets. */
class Site {
  readonly path: string;
  readonly policy: AccessPolicy;
  readonly #clock: { now: number };

  static async open(t: ExecutionContext, text: string, options: TokenFileOptions = {}): Promise<Site> {
    const path = join(await temporaryDirectory(t), 'tokens');
    writeFileSync(path, text, { mode: 0o600 });
    const clock = { now: 0 };
    return new Site(path, await openTokenFile(path, options, () => clock.now), clock);
  }

  private constructor(path: string, policy: AccessPolicy, clock: { now: number }) {
    this.path = path;
    this.policy = policy;
    this.#clock = clock;
  }

  /** Replaces the file by rename, so that a reader sees the old content or the new one. */
  replace(text: string): void {
    writeFileSync(`${this.path}.next`, text, { mode: 0o600 });
    renameSync(`${this.path}.next`, this.path);
  }

  advance(milliseconds: number): void {
    this.#clock.now += milliseconds;
  }

  /** Returns the levels of the old and the new token after a check of the file. */
  async levels(): Promise<readonly AccessDecision[]> {
    this.advance(1000);
    return [await this.policy(accessRequest(OLD)), await this.policy(accessRequest(NEW))];
  }
}

/** Waits until the last change is so old that the inode alone shows the next one. */
async function settle(site: Site): Promise<void> {
  const { ctimeMs } = statSync(site.path);
  await until('the last change is old', () => Date.now() - ctimeMs > 2000);
  await site.levels();
}

test("anonymous is not valid for the operators' pages once a token has scopes, also after the file has expired", async (t) => {
  const site = await Site.open(t, `read ${OLD}\n`, { anonymous: 'read', maxStaleMs: 0 });
  const levels = async () => {
    site.advance(1000);
    const decisions = [];
    for (const token of ['unknown-0123456789', undefined]) {
      decisions.push(await site.policy(accessRequest(token, 'hotblob')), await site.policy(accessRequest(token)));
    }
    return decisions;
  };
  t.deepEqual(await levels(), ['read', 'read', 'read', 'read']);
  site.replace(`read ${OLD}\nwrite ${NEW} scope=pr\n`);
  t.deepEqual(await levels(), ['none', 'read', 'none', 'read']);
  site.replace('not a token\n');
  t.deepEqual(await levels(), ['none', 'read', 'none', 'read']);
});

test('applies the levels, protocols and namespaces of the file', async (t) => {
  const { policy } = await Site.open(t, `read ${OLD}\nwrite ${NEW} protocols=nx,bazel namespaces=web\n`);
  t.is(await policy(accessRequest(OLD, 'gradle')), 'read');
  t.is(await policy(accessRequest(NEW, 'bazel', 'web')), 'write');
  t.is(await policy(accessRequest(NEW, 'gradle', 'web')), 'none');
  t.is(await policy(accessRequest(NEW, 'nx', 'app')), 'none');
  t.is(await policy(accessRequest(NEW, 'nx')), 'none');
  t.is(await policy(accessRequest('unknown-0123456789')), 'none');
  t.is(await policy(accessRequest(undefined)), 'none');
});

test('applies a file that is replaced by rename at the next check', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  t.deepEqual(await site.levels(), ['write', 'none']);
  site.replace(`read ${NEW}\n`);
  t.deepEqual(await site.levels(), ['none', 'read']);
  site.replace('# no tokens\n');
  t.deepEqual(await site.levels(), ['none', 'none']);
});

test('a line that is still being written gives no access, and is reported', async (t) => {
  const warnings: string[] = [];
  const site = await Site.open(t, `read ${OLD}\n`, { onWarning: (line) => warnings.push(line) });
  const line = `write ${NEW} namespaces=web\n`;
  for (let length = 1; length < line.length; length++) {
    writeFileSync(site.path, `read ${OLD}\n${line.slice(0, length)}`);
    t.deepEqual(await site.levels(), ['read', 'none'], line.slice(0, length));
  }
  t.regex(warnings[0] ?? '', /tokens:2: the last line is not used, because it does not end with a newline$/);
  t.true(warnings.every((warning) => warning === warnings[0]));
  writeFileSync(site.path, `read ${OLD}\n${line}`);
  t.deepEqual(await site.levels(), ['read', 'none']);
  t.is(await site.policy(accessRequest(NEW, 'nx', 'web')), 'write');
});

for (const [kind, onWarning] of [
  ['throws', () => assert.fail('own error')],
  ['rejects', async () => assert.fail('own error')],
] as const) {
  test.serial(`an onWarning that ${kind} does not change which tokens are valid`, async (t) => {
    const lines = captureLog(t);
    const site = await Site.open(t, `write ${OLD}\nread ${NEW}\nread short\n`, { onWarning });
    t.deepEqual(await site.levels(), ['write', 'read']);
    site.replace(`read ${OLD}\nread short\n`);
    t.deepEqual(await site.levels(), ['read', 'none']);
    site.replace('not a level\n');
    t.deepEqual(await site.levels(), ['read', 'none']);
    t.deepEqual(await site.levels(), ['read', 'none']);
    t.true(lines.some((line) => line.includes('onWarning failed: ') && line.includes('own error')));
  });
}

test('the names of own protocols are an option', async (t) => {
  const site = await Site.open(t, `write ${OLD} protocols=libraries,nx\n`, { protocols: ['libraries'] });
  t.is(await site.policy(accessRequest(OLD, 'libraries')), 'write');
  await t.throwsAsync(tokenFile(site.path), { message: /tokens:1: protocols=: name 1 is not a protocol; expected / });
});

test('checks the file at most once per second, and answers synchronously in between', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  site.replace(`write ${NEW}\n`);
  site.advance(999);
  t.is(site.policy(accessRequest(OLD)), 'write');
  site.advance(1);
  const checking = site.policy(accessRequest(OLD));
  t.true(checking instanceof Promise);
  t.is(await checking, 'none');
  t.is(site.policy(accessRequest(NEW)), 'write');
});

test('detects a change that leaves the inode unchanged shortly after another change', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  const bytes = mapForWriting(site.path, `write ${OLD}\n`.length);
  for (let round = 0; round < 20; round++) {
    for (const token of [OLD, NEW]) {
      bytes.set(Buffer.from(`write ${token}\n`));
      t.deepEqual(await site.levels(), token === OLD ? ['write', 'none'] : ['none', 'write']);
    }
  }
});

test('detects a change of the same length if a tool resets the modification time', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  utimesSync(site.path, 1, 1);
  await settle(site);
  writeFileSync(site.path, `write ${NEW}\n`);
  utimesSync(site.path, 1, 1);
  t.deepEqual(await site.levels(), ['none', 'write']);
});

test('accepts the file again after its directory was renamed and renamed back', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  const directory = dirname(site.path);
  renameSync(directory, `${directory}.away`);
  t.deepEqual(await site.levels(), ['write', 'none']);
  renameSync(`${directory}.away`, directory);
  t.deepEqual(await site.levels(), ['write', 'none']);
  site.advance(60_000);
  t.deepEqual(await site.levels(), ['write', 'none']);
});

test.serial('concurrent requests wait for one check and get its result', async (t) => {
  const lines = captureLog(t);
  const site = await Site.open(t, `write ${OLD}\n`);
  lines.length = 0;
  site.replace(`write ${NEW}\n`);
  site.advance(1000);
  const waiting = Array.from({ length: 100 }, () => site.policy(accessRequest(NEW)));
  t.true(waiting.every((each) => each instanceof Promise));
  t.deepEqual(new Set(await Promise.all(waiting)), new Set(['write']));
  t.is(lines.length, 1);
});

test('concurrent requests never see parts of two files', async (t) => {
  const site = await Site.open(t, `write ${OLD}\nread ${NEW}\n`);
  const pairs = new Set<string>();
  let isDone = false;
  const requests = Array.from({ length: 8 }, async () => {
    while (!isDone) {
      // Both calls are in one turn of the event loop, so the same check applies to both.
      const pair = await Promise.all([site.policy(accessRequest(OLD)), site.policy(accessRequest(NEW))]);
      pairs.add(pair.join());
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  for (let round = 0; round < 100; round++) {
    site.replace(round % 2 === 0 ? `read ${OLD}\nwrite ${NEW}\n` : `write ${OLD}\nread ${NEW}\n`);
    t.deepEqual(await site.levels(), round % 2 === 0 ? ['read', 'write'] : ['write', 'read']);
  }
  isDone = true;
  await Promise.all(requests);
  t.deepEqual([...pairs].sort(), ['read,write', 'write,read']);
});

function replaceWith(path: string, create: () => unknown): void {
  rmSync(path);
  create();
}

const FAILURES: readonly (readonly [title: string, breakFile: (path: string) => void, reason: RegExp])[] = [
  ['is deleted', (path) => rmSync(path), /: ENOENT/],
  [
    'has a bad line',
    (path) => writeFileSync(path, `write ${NEW}\nwirte ${OLD}\n`),
    /:2: expected one of 'read', 'write' as the first word/,
  ],
  ['becomes a directory', (path) => replaceWith(path, () => mkdirSync(path)), /: not a regular file/],
  ['becomes too large', (path) => writeFileSync(path, '#'.repeat(2 ** 20 + 1)), /: more than 1048576 bytes/],
  ['becomes a symlink to itself', (path) => replaceWith(path, () => symlinkSync(path, path)), /: ELOOP/],
  [
    'becomes a FIFO without a writer',
    (path) => replaceWith(path, () => spawnSync('mkfifo', [path])),
    /: not a regular file/,
  ],
];

for (const [title, breakFile, reason] of FAILURES) {
  test.serial(`a file that ${title}: accepts the last valid tokens for maxStaleMs, then none`, async (t) => {
    const lines = captureLog(t);
    const warnings: string[] = [];
    const site = await Site.open(t, `write ${OLD}\n`, {
      anonymous: 'read',
      maxStaleMs: 60_000,
      onWarning: (line) => warnings.push(line),
    });
    lines.length = 0;
    breakFile(site.path);
    for (let second = 0; second < 60; second++) t.deepEqual(await site.levels(), ['write', 'read'], `${second}`);
    t.is(lines.length, 1);
    t.regex(lines[0] ?? '', reason);

    // One minute after the first failed check.
    t.deepEqual(await site.levels(), ['read', 'read']);
    t.deepEqual(await site.levels(), ['read', 'read']);
    t.is(await site.policy(accessRequest(undefined)), 'read');
    t.is(lines.length, 2);
    t.regex(lines[1] ?? '', /no valid token file for 60000 ms \(maxStaleMs\): all tokens rejected/);

    rmSync(site.path, { recursive: true, force: true });
    site.replace(`write ${OLD}\n`);
    t.deepEqual(await site.levels(), ['write', 'read']);
    t.is(lines.length, 3);
    t.regex(lines[2] ?? '', /loaded 1 tokens/);
    t.false(lines.join().includes('S3CRET'));
    // The debug module puts the name and the time around a line.
    t.is(warnings.length, 2);
    for (const [index, warning] of warnings.entries()) t.true(lines[index]?.includes(warning));
  });

  test.serial(`a file that ${title}: rejects all tokens at once if maxStaleMs is 0`, async (t) => {
    const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 0 });
    breakFile(site.path);
    t.deepEqual(await site.levels(), ['none', 'none']);
  });

  test.serial(`a file that ${title} before the start is rejected`, async (t) => {
    const { path } = await Site.open(t, `write ${OLD}\n`);
    breakFile(path);
    const error = await t.throwsAsync(tokenFile(path), { code: 'ERR_HOTBLOB_INVALID_OPTION', message: reason });
    t.true(error.message.startsWith(path));
    t.false(error.message.includes('S3CRET'));
  });
}

test('maxStaleMs starts again after the file was valid', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  for (let round = 0; round < 3; round++) {
    rmSync(site.path);
    for (let second = 0; second < 50; second++) t.deepEqual(await site.levels(), ['write', 'none']);
    site.replace(`write ${OLD}\n`);
    t.deepEqual(await site.levels(), ['write', 'none']);
  }
});

test('maxStaleMs does not start again when one failure follows another', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  for (let second = 0; second < 60; second++) {
    if (second % 2 === 0) site.replace(`invalid ${second}\n`);
    else rmSync(site.path);
    t.deepEqual(await site.levels(), ['write', 'none']);
  }
  t.deepEqual(await site.levels(), ['none', 'none']);
});

test('maxStaleMs: Infinity accepts the last valid tokens forever; the default is ten minutes', async (t) => {
  const forever = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: Number.POSITIVE_INFINITY });
  const standard = await Site.open(t, `write ${OLD}\n`);
  for (const site of [forever, standard]) {
    rmSync(site.path);
    t.deepEqual(await site.levels(), ['write', 'none']);
    site.advance(DEFAULT_MAX_STALE_MS - 1001);
    t.deepEqual(await site.levels(), ['write', 'none']);
    site.advance(1);
  }
  t.is(DEFAULT_MAX_STALE_MS, 10 * 60 * 1000);
  t.deepEqual(await standard.levels(), ['none', 'none']);
  forever.advance(1e12);
  t.deepEqual(await forever.levels(), ['write', 'none']);
});

test('follows a symlink that is switched to another directory, as for mounted Kubernetes secrets', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  const directory = dirname(site.path);
  for (const [version, token] of [OLD, NEW].entries()) {
    mkdirSync(join(directory, `v${version}`));
    writeFileSync(join(directory, `v${version}`, 'tokens'), `write ${token}\n`);
  }
  const link = join(directory, 'current');
  symlinkSync('v0', link);
  const clock = { now: 0 };
  const policy = await openTokenFile(join(link, 'tokens'), {}, () => clock.now);
  t.is(await policy(accessRequest(NEW)), 'none');
  symlinkSync('v1', `${link}.next`);
  renameSync(`${link}.next`, link);
  clock.now = 1000;
  t.is(await policy(accessRequest(NEW)), 'write');
});

test('answers a request without a token synchronously, even if the file is missing', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { anonymous: 'read' });
  rmSync(site.path);
  site.advance(DEFAULT_MAX_STALE_MS);
  t.is(site.policy(accessRequest(undefined)), 'read');
});

test.serial('logs access for group or others and short tokens once, without the tokens', async (t) => {
  const lines = captureLog(t);
  const site = await Site.open(t, `write ${OLD}\n\nread S3CRET-short\n`);
  const short = /tokens:3: token shorter than 16 characters/;
  t.is(lines.filter((line) => short.test(line)).length, 1);
  t.false(lines.some((line) => /group or others have access/.test(line)));
  for (const mode of [0o640, 0o602, 0o601]) {
    lines.length = 0;
    chmodSync(site.path, mode);
    for (let second = 0; second < 5; second++) await site.levels();
    const warnings = lines.filter((line) => line.includes(`group or others have access (mode ${mode.toString(8)})`));
    t.is(warnings.length, 1);
  }
  t.false(lines.join().includes('S3CRET'));
});

test.serial('logs an unchanged file once', async (t) => {
  const lines = captureLog(t);
  const site = await Site.open(t, `write ${OLD}\n`);
  for (let second = 0; second < 10; second++) await site.levels();
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /tokens: loaded 1 tokens/);
});

test('applies a change with the real clock', async (t) => {
  const path = join(await temporaryDirectory(t), 'tokens');
  writeFileSync(path, `write ${OLD}\n`);
  const policy = await tokenFile(path);
  t.is(await policy(accessRequest(OLD)), 'write');
  writeFileSync(path, `write ${NEW}\n`);
  await until('the new token is accepted', async () => (await policy(accessRequest(NEW))) === 'write');
  t.is(await policy(accessRequest(OLD)), 'none');
});

test('rejects invalid options without showing them', async (t) => {
  for (const [path, options, message] of [
    ['', {}, /^path: expected the path of a file, received an empty string$/],
    [undefined, {}, /^path: expected the path of a file, received undefined$/],
    ['tokens', 'S3CRET', /^options: expected an object, received a string \(not shown\)$/],
    [
      'tokens',
      { S3CRET: 1 },
      /^options: unknown option \(not shown\); expected one of anonymous, maxStaleMs, protocols, onWarning$/,
    ],
    [
      'tokens',
      { anonymous: 'S3CRET' },
      /^anonymous: expected 'none', 'read', 'write', received a string \(not shown\)$/,
    ],
    ['tokens', { maxStaleMs: -1 }, /^maxStaleMs: expected a number of milliseconds from 0, received a number$/],
    ['tokens', { maxStaleMs: Number.NaN }, /^maxStaleMs: /],
    ['tokens', { maxStaleMs: '1' }, /^maxStaleMs: /],
  ] as const) {
    const opening = tokenFile(path as never, options as never);
    await t.throwsAsync(opening, { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
});
