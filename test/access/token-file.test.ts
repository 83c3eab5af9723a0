import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { AccessLevel, AccessPolicy } from '../../src/access/policy.js';
import { DEFAULT_MAX_STALE_MS, openTokenFile, type TokenFileOptions, tokenFile } from '../../src/access/token-file.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { asking, logged } from './fixture.js';
import { mapForWriting } from './mapped-writer.js';

const OLD = 'S3CRET-old-0123456789';
const NEW = 'S3CRET-new-0123456789';

/** A file of tokens, its policy, and a clock that moves when it is told to. */
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

  /** As one should: whoever reads sees all of it or nothing. */
  replace(text: string): void {
    writeFileSync(`${this.path}.next`, text, { mode: 0o600 });
    renameSync(`${this.path}.next`, this.path);
  }

  wait(milliseconds: number): void {
    this.#clock.now += milliseconds;
  }

  /** The levels of the old and the new token when the file has just been looked at. */
  async levels(): Promise<readonly AccessLevel[]> {
    this.wait(1000);
    return [await this.policy(asking(OLD)), await this.policy(asking(NEW))];
  }
}

/** Until the last change is so old that a look at the inode is enough. */
async function settle(site: Site): Promise<void> {
  const { ctimeMs } = statSync(site.path);
  await until('the last change is old', () => Date.now() - ctimeMs > 2000);
  await site.levels();
}

test('levels, protocols and namespaces are those of the file', async (t) => {
  const { policy } = await Site.open(t, `read ${OLD}\nwrite ${NEW} protocols=nx,bazel namespaces=web\n`);
  t.is(await policy(asking(OLD, 'gradle')), 'read');
  t.is(await policy(asking(NEW, 'bazel', 'web')), 'write');
  t.is(await policy(asking(NEW, 'gradle', 'web')), 'none');
  t.is(await policy(asking(NEW, 'nx', 'app')), 'none');
  t.is(await policy(asking(NEW, 'nx')), 'none');
  t.is(await policy(asking('of-another-cache')), 'none');
  t.is(await policy(asking(undefined)), 'none');
});

test('a file that is replaced by rename holds from the next look on', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  t.deepEqual(await site.levels(), ['write', 'none']);
  site.replace(`read ${NEW}\n`);
  t.deepEqual(await site.levels(), ['none', 'read']);
  site.replace('# nobody any more\n');
  t.deepEqual(await site.levels(), ['none', 'none']);
});

test('it is looked at once a second at most, and between looks the answer is there at once', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  site.replace(`write ${NEW}\n`);
  site.wait(999);
  t.is(site.policy(asking(OLD)), 'write');
  site.wait(1);
  const looking = site.policy(asking(OLD));
  t.true(looking instanceof Promise);
  t.is(await looking, 'none');
  t.is(site.policy(asking(NEW)), 'write');
});

test('a change that leaves the inode as it was is seen, close behind another', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  const bytes = mapForWriting(site.path, `write ${OLD}\n`.length);
  for (let round = 0; round < 20; round++) {
    for (const token of [OLD, NEW]) {
      bytes.set(Buffer.from(`write ${token}\n`));
      t.deepEqual(await site.levels(), token === OLD ? ['write', 'none'] : ['none', 'write']);
    }
  }
});

test('a change of the same length is seen, whatever time of modification a tool sets', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`);
  utimesSync(site.path, 1, 1);
  await settle(site);
  writeFileSync(site.path, `write ${NEW}\n`);
  utimesSync(site.path, 1, 1);
  t.deepEqual(await site.levels(), ['none', 'write']);
});

test('a directory that goes and comes back: its file is good again', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  const directory = dirname(site.path);
  renameSync(directory, `${directory}.away`);
  t.deepEqual(await site.levels(), ['write', 'none']);
  renameSync(`${directory}.away`, directory);
  t.deepEqual(await site.levels(), ['write', 'none']);
  site.wait(60_000);
  t.deepEqual(await site.levels(), ['write', 'none']);
});

test.serial('all requests of a moment wait for one look, and get what it has found', async (t) => {
  const lines = logged(t);
  const site = await Site.open(t, `write ${OLD}\n`);
  lines.length = 0;
  site.replace(`write ${NEW}\n`);
  site.wait(1000);
  const waiting = Array.from({ length: 100 }, () => site.policy(asking(NEW)));
  t.true(waiting.every((each) => each instanceof Promise));
  t.deepEqual(new Set(await Promise.all(waiting)), new Set(['write']));
  t.is(lines.length, 1);
});

test('requests never see a mixture while the file is replaced again and again', async (t) => {
  const site = await Site.open(t, `write ${OLD}\nread ${NEW}\n`);
  const seen = new Set<string>();
  let isOver = false;
  const requests = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      // Asked in one turn of the loop: behind one look, or both behind none.
      const pair = await Promise.all([site.policy(asking(OLD)), site.policy(asking(NEW))]);
      seen.add(pair.join());
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  for (let round = 0; round < 100; round++) {
    site.replace(round % 2 === 0 ? `read ${OLD}\nwrite ${NEW}\n` : `write ${OLD}\nread ${NEW}\n`);
    t.deepEqual(await site.levels(), round % 2 === 0 ? ['read', 'write'] : ['write', 'read']);
  }
  isOver = true;
  await Promise.all(requests);
  t.deepEqual([...seen].sort(), ['read,write', 'write,read']);
});

function anew(path: string, make: () => unknown): void {
  rmSync(path);
  make();
}

const BAD: readonly (readonly [what: string, spoil: (path: string) => void, reason: RegExp])[] = [
  ['is deleted', (path) => rmSync(path), /: ENOENT/],
  [
    'has a bad line',
    (path) => writeFileSync(path, `write ${NEW}\nwirte ${OLD}\n`),
    /:2: expected 'read', 'write' first/,
  ],
  ['becomes a directory', (path) => anew(path, () => mkdirSync(path)), /: it is not a regular file/],
  ['becomes too large', (path) => writeFileSync(path, '#'.repeat(2 ** 20 + 1)), /: it has more than 1048576 bytes/],
  ['becomes a symlink to itself', (path) => anew(path, () => symlinkSync(path, path)), /: ELOOP/],
  [
    'becomes a FIFO that nobody writes',
    (path) => anew(path, () => spawnSync('mkfifo', [path])),
    /: it is not a regular/,
  ],
];

for (const [what, spoil, reason] of BAD) {
  test.serial(`a file that ${what}: the last good tokens stay in force for a while, then none is`, async (t) => {
    const lines = logged(t);
    const site = await Site.open(t, `write ${OLD}\n`, { anonymous: 'read', maxStaleMs: 60_000 });
    lines.length = 0;
    spoil(site.path);
    for (let second = 0; second < 60; second++) t.deepEqual(await site.levels(), ['write', 'read'], `${second}`);
    t.is(lines.length, 1);
    t.regex(lines[0] ?? '', reason);

    // A minute since the first look.
    t.deepEqual(await site.levels(), ['read', 'read']);
    t.deepEqual(await site.levels(), ['read', 'read']);
    t.is(await site.policy(asking(undefined)), 'read');
    t.is(lines.length, 2);
    t.regex(lines[1] ?? '', /no token is in force/);

    rmSync(site.path, { recursive: true, force: true });
    site.replace(`write ${OLD}\n`);
    t.deepEqual(await site.levels(), ['write', 'read']);
    t.is(lines.length, 3);
    t.regex(lines[2] ?? '', /1 tokens are in force/);
    t.false(lines.join().includes('S3CRET'));
  });

  test.serial(`a file that ${what}, and nothing is to stay: no token is in force at once`, async (t) => {
    const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 0 });
    spoil(site.path);
    t.deepEqual(await site.levels(), ['none', 'none']);
  });

  test.serial(`a file that ${what} before the start is refused`, async (t) => {
    const { path } = await Site.open(t, `write ${OLD}\n`);
    spoil(path);
    const error = await t.throwsAsync(tokenFile(path), { code: 'ERR_HOTBLOB_INVALID_OPTION', message: reason });
    t.true(error.message.startsWith(path));
    t.false(error.message.includes('S3CRET'));
  });
}

test('a file that comes back in time was never gone', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  for (let round = 0; round < 3; round++) {
    rmSync(site.path);
    for (let second = 0; second < 50; second++) t.deepEqual(await site.levels(), ['write', 'none']);
    site.replace(`write ${OLD}\n`);
    t.deepEqual(await site.levels(), ['write', 'none']);
  }
});

test('one kind of trouble behind another does not begin the time anew', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: 60_000 });
  for (let second = 0; second < 60; second++) {
    if (second % 2 === 0) site.replace(`trouble ${second}\n`);
    else rmSync(site.path);
    t.deepEqual(await site.levels(), ['write', 'none']);
  }
  t.deepEqual(await site.levels(), ['none', 'none']);
});

test('with maxStaleMs: Infinity the last good tokens stay; the default is ten minutes', async (t) => {
  const forever = await Site.open(t, `write ${OLD}\n`, { maxStaleMs: Number.POSITIVE_INFINITY });
  const usual = await Site.open(t, `write ${OLD}\n`);
  for (const site of [forever, usual]) {
    rmSync(site.path);
    t.deepEqual(await site.levels(), ['write', 'none']);
    site.wait(DEFAULT_MAX_STALE_MS - 1001);
    t.deepEqual(await site.levels(), ['write', 'none']);
    site.wait(1);
  }
  t.is(DEFAULT_MAX_STALE_MS, 10 * 60 * 1000);
  t.deepEqual(await usual.levels(), ['none', 'none']);
  forever.wait(1e12);
  t.deepEqual(await forever.levels(), ['write', 'none']);
});

test('a symlink that is switched to another directory is followed, as secrets are mounted', async (t) => {
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
  t.is(await policy(asking(NEW)), 'none');
  symlinkSync('v1', `${link}.next`);
  renameSync(`${link}.next`, link);
  clock.now = 1000;
  t.is(await policy(asking(NEW)), 'write');
});

test('who shows no token is answered at once, whatever has become of the file', async (t) => {
  const site = await Site.open(t, `write ${OLD}\n`, { anonymous: 'read' });
  rmSync(site.path);
  site.wait(DEFAULT_MAX_STALE_MS);
  t.is(site.policy(asking(undefined)), 'read');
});

test.serial('a file that others may use, and short tokens, are logged once, without the tokens', async (t) => {
  const lines = logged(t);
  const site = await Site.open(t, `write ${OLD}\n\nread S3CRET-short\n`);
  const short = /tokens:3: a token of fewer than 16 characters/;
  t.is(lines.filter((line) => short.test(line)).length, 1);
  t.false(lines.some((line) => /others may use it/.test(line)));
  for (const mode of [0o640, 0o602, 0o601]) {
    lines.length = 0;
    chmodSync(site.path, mode);
    for (let second = 0; second < 5; second++) await site.levels();
    const found = lines.filter((line) => line.includes(`others may use it (mode ${mode.toString(8)})`));
    t.is(found.length, 1);
  }
  t.false(lines.join().includes('S3CRET'));
});

test.serial('a file that does not change is logged once', async (t) => {
  const lines = logged(t);
  const site = await Site.open(t, `write ${OLD}\n`);
  for (let second = 0; second < 10; second++) await site.levels();
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /tokens: 1 tokens are in force/);
});

test('with the clock of the machine a change holds as well', async (t) => {
  const path = join(await temporaryDirectory(t), 'tokens');
  writeFileSync(path, `write ${OLD}\n`);
  const policy = await tokenFile(path);
  t.is(await policy(asking(OLD)), 'write');
  writeFileSync(path, `write ${NEW}\n`);
  await until('the new token is in force', async () => (await policy(asking(NEW))) === 'write');
  t.is(await policy(asking(OLD)), 'none');
});

test('options that cannot be are refused, and nothing of them shown', async (t) => {
  for (const [path, options, message] of [
    ['', {}, /^path: expected the path of a file, received an empty string$/],
    [undefined, {}, /^path: expected the path of a file, received undefined$/],
    ['tokens', 'S3CRET', /^options: expected an object, received another string$/],
    ['tokens', { S3CRET: 1 }, /^options: expected one of the options anonymous, maxStaleMs, received another string$/],
    ['tokens', { anonymous: 'S3CRET' }, /^anonymous: expected 'none', 'read', 'write', received another string$/],
    ['tokens', { maxStaleMs: -1 }, /^maxStaleMs: expected milliseconds from 0, received number$/],
    ['tokens', { maxStaleMs: Number.NaN }, /^maxStaleMs: /],
    ['tokens', { maxStaleMs: '1' }, /^maxStaleMs: /],
  ] as const) {
    const opening = tokenFile(path as never, options as never);
    await t.throwsAsync(opening, { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
});
