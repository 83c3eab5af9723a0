import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { memoryStore } from '../../../src/stores/memory.js';
import { type TieredStoreOptions, tieredStore } from '../../../src/stores/tiered/store.js';
import { refusal, temporaryDirectory } from '../fixture.js';

const local = memoryStore();
const remote = memoryStore();

/** Passes options that the type forbids. */
const untyped = (options: unknown): TieredStoreOptions => options as TieredStoreOptions;

const INVALID: Record<string, TieredStoreOptions> = {
  'options: expected': untyped(undefined),
  'local: expected a store': untyped({ remote }),
  'remote: expected a store': untyped({ local }),
  remot: untyped({ local, remote, remot: remote }),
  'writes: expected': untyped({ local, remote, writes: 'both' }),
  'queueDir: expected a directory if writes': { local, remote, writes: 'writeBack' },
  'queueDir: expected .* otherwise no value': { local, remote, queueDir: '/tmp/queue' },
  'lookupTimeoutMs: expected': { local, remote, lookupTimeoutMs: 0 },
  'missTtlMs: expected': { local, remote, missTtlMs: -1 },
  'failureThreshold: expected': { local, remote, failureThreshold: 0 },
  'maxQueued: expected': { local, remote, maxQueued: 0 },
  'spoolMemoryBytes: expected': { local, remote, spoolMemoryBytes: -1 },
  'maxSpoolBytes: expected': { local, remote, maxSpoolBytes: -1 },
};

for (const [message, options] of Object.entries(INVALID)) {
  test(`rejects invalid options: ${message}`, async (t) => {
    await t.throwsAsync(tieredStore(options), refusal('ERR_HOTBLOB_INVALID_OPTION', new RegExp(message)));
  });
}

test('rejects stores that lack a method', async (t) => {
  const readOnly = { get: () => undefined };
  await t.throwsAsync(
    tieredStore(untyped({ local: readOnly, remote })),
    refusal('ERR_HOTBLOB_INVALID_STORE', /local\.put: expected a function, received undefined/),
  );
  await t.throwsAsync(
    tieredStore(untyped({ local, remote: { get: 1 } })),
    refusal('ERR_HOTBLOB_INVALID_STORE', /remote\.get: expected a function, received number/),
  );
});

test('rejects a queue directory that cannot be created', async (t) => {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, '');
  await t.throwsAsync(
    tieredStore({ local, remote, writes: 'writeBack', queueDir: path }),
    refusal('ERR_HOTBLOB_INVALID_OPTION', /queueDir: expected a writable directory, received '.*\/file' \(EEXIST\)/),
  );
});

test('get and put need no signal', async (t) => {
  const store = await tieredStore({ local: memoryStore(), remote: memoryStore() });
  t.is(await store.get('a'), undefined);
  t.true((await store.put('a', Readable.from([Buffer.from('x')]))).created);
  t.like(await store.get('a'), { kind: 'bytes', bytes: Buffer.from('x') });
  await store.close();
});

test('rejects a spool directory that cannot be written', async (t) => {
  const directory = await temporaryDirectory(t);
  for (const [spoolDir, code] of [
    [join(directory, 'missing'), 'ENOENT'],
    [fileURLToPath(import.meta.url), 'ENOTDIR'],
  ] as const) {
    const options = { local: memoryStore(), remote: memoryStore(), spoolDir };
    const message = new RegExp(`^spoolDir: expected a writable directory, received '.*' \\(${code}\\)$`);
    await t.throwsAsync(tieredStore(options), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
  }
});
