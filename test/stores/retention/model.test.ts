import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { ReadWriteStore } from '../../../src/contract/store.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { type FakeTime, fakeTime } from '../../helpers/fake-time.js';
import { until } from '../../helpers/poll.js';
import { content, never, put, temporaryDirectory } from '../fixture.js';

const HOUR_MS = 60 * 60 * 1000;
const KIB = 1024;
const MAX_BYTES = 2048 * KIB;
const MAX_AGE_HOURS = 10;
/** Artifacts of `main` never reach the limit of its rule. */
const RULES = [
  { scope: 'main', maxBytes: 1024 * KIB, maxAgeMs: MAX_AGE_HOURS * HOUR_MS },
  { scope: 'pr', maxBytes: 400 * KIB },
];
const PREFIXES = { main: '.scopes/main/', pr: '.scopes/pr/', rest: 'rest/' } as const;
type Scope = keyof typeof PREFIXES;

const scopes = fc.constantFrom<Scope>('main', 'pr', 'pr', 'rest', 'rest');
const actions = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('put' as const),
        scope: scopes,
        key: fc.nat(7),
        kib: fc.integer({ min: 1, max: 60 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('get' as const), scope: scopes, key: fc.nat(7) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), hours: fc.integer({ min: 1, max: 8 }) }) },
  ),
  { minLength: 20, maxLength: 60 },
);

type Store = ReadWriteStore & Required<Pick<ReadWriteStore, 'list' | 'stats' | 'close'>>;

async function sizesIn(store: Store): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for await (const { key, size = 0 } of store.list()) sizes.set(key, size);
  return sizes;
}

/** Performs actions, and compares the store with the last uses of the artifacts of `main` after each of them. */
async function run(
  store: Store,
  list: readonly (typeof actions extends fc.Arbitrary<readonly (infer A)[]> ? A : never)[],
  time: FakeTime,
): Promise<void> {
  const usedAt = new Map<string, number>();
  let hours = 0;
  for (const [seed, action] of list.entries()) {
    if (action.kind === 'wait') {
      hours += action.hours;
      await time.advance(action.hours * HOUR_MS);
      const expired = [...usedAt].filter(([, used]) => hours - used > MAX_AGE_HOURS).map(([key]) => key);
      await until('unused artifacts have expired', async () => {
        const stored = await sizesIn(store);
        return !expired.some((key) => stored.has(key));
      });
      for (const key of expired) usedAt.delete(key);
    } else {
      const key = `${PREFIXES[action.scope]}${action.key}`;
      if (action.kind === 'put') await put(store, key, content(action.kib * KIB, seed));
      const isStored = (await sizesIn(store)).has(key);
      if (action.kind === 'put' && !isStored) throw new Error(`${key} is not stored`);
      if (action.kind === 'get') await store.get(key, { signal: never() });
      if (isStored && action.scope === 'main') usedAt.set(key, hours);
    }
    const sizes = await sizesIn(store);
    // After exactly this age, an artifact may have expired or not.
    const kept = [...usedAt].filter(([, used]) => hours - used < MAX_AGE_HOURS);
    for (const [key] of kept) if (!sizes.has(key)) throw new Error(`${key} was evicted`);
    let prBytes = 0;
    for (const [key, size] of sizes) if (key.startsWith(PREFIXES.pr)) prBytes += size;
    if (prBytes > 400 * KIB) throw new Error(`pr takes ${prBytes} bytes`);
    if ((store.stats().bytes ?? 0) > MAX_BYTES) throw new Error(`the store takes ${store.stats().bytes} bytes`);
  }
}

const options = { maxBytes: MAX_BYTES, retain: RULES };
const stores: Record<string, (dir: string) => Store | Promise<Store>> = {
  memory: () => memoryStore(options),
  directory: (dir) => directoryStore(dir, options),
  segments: (dir) => segmentStore(dir, options),
};

for (const [name, open] of Object.entries(stores)) {
  test.serial(`${name}: rules hold for random uploads, reads and pauses`, async (t) => {
    const time = fakeTime(t);
    const parent = await temporaryDirectory(t);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(actions, async (list) => {
        const store = await open(join(parent, `${count++}`));
        try {
          await run(store, list, time);
        } finally {
          await store.close();
        }
      }),
      { numRuns: 15 },
    );
    t.pass();
  });
}
