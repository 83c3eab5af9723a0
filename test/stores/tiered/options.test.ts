import { writeFile } from 'node:fs/promises';
import test from 'ava';
import { memoryStore } from '../../../src/stores/memory.js';
import { type TieredStoreOptions, tieredStore } from '../../../src/stores/tiered/store.js';
import { refusal, temporaryDirectory } from '../fixture.js';

const local = memoryStore();
const remote = memoryStore();

/** Options that no type would let through. */
const untyped = (options: unknown): TieredStoreOptions => options as TieredStoreOptions;

const WRONG: Record<string, TieredStoreOptions> = {
  'options: expected': untyped(undefined),
  'local: expected a store': untyped({ remote }),
  'remote: expected a store': untyped({ local }),
  'one of the options': untyped({ local, remote, remot: remote }),
  'writes: expected': untyped({ local, remote, writes: 'both' }),
  'queueDir: expected a directory with': { local, remote, writes: 'writeBack' },
  'queueDir: expected .* only with it': { local, remote, queueDir: '/tmp/queue' },
  'lookupTimeoutMs: expected': { local, remote, lookupTimeoutMs: 0 },
  'missTtlMs: expected': { local, remote, missTtlMs: -1 },
  'failureThreshold: expected': { local, remote, failureThreshold: 0 },
  'maxQueued: expected': { local, remote, maxQueued: 0 },
  'spoolMemoryBytes: expected': { local, remote, spoolMemoryBytes: -1 },
};

for (const [message, options] of Object.entries(WRONG)) {
  test(`refused: ${message}`, async (t) => {
    await t.throwsAsync(tieredStore(options), refusal('ERR_HOTBLOB_INVALID_OPTION', new RegExp(message)));
  });
}

test('stores without what is needed are refused', async (t) => {
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

test('a queue that cannot be a directory', async (t) => {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, '');
  await t.throwsAsync(
    tieredStore({ local, remote, writes: 'writeBack', queueDir: path }),
    refusal('ERR_HOTBLOB_INVALID_OPTION', /queueDir: expected a directory .*EEXIST/),
  );
});
