import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { storeConformance } from '../../src/testing/index.js';
import { refusal } from '../stores/fixture.js';

const required = { test: () => {}, createStore: () => memoryStore() };
const MIB = 1024 * 1024;

/** Returns the titles of the registered checks. */
function titlesOf(options: Partial<Parameters<typeof storeConformance>[0]>): string[] {
  const titles: string[] = [];
  storeConformance({ ...required, ...options, test: (title) => titles.push(title) });
  return titles;
}

const INVALID: readonly (readonly [string, object, RegExp])[] = [
  ['an unknown option', { capability: {} }, /unknown option 'capability'; expected one of .*capabilities/],
  ['a missing test function', { test: undefined }, /test: expected a function, received undefined/],
  ['a missing createStore', { createStore: undefined }, /createStore: expected a function/],
  ['a store instead of a function', { createStore: memoryStore() }, /createStore: expected a function/],
  [
    'an unknown capability',
    { capabilities: { writeable: false } },
    /unknown option 'writeable'; expected one of .*writable/,
  ],
  [
    'a capability that is not a boolean',
    { capabilities: { ranges: 'yes' } },
    /ranges: expected true or false, received 'yes'/,
  ],
  ['a read-only store without a seed', { capabilities: { writable: false } }, /seed: expected a function/],
  [
    'evictsAbove below four large artifacts',
    { capabilities: { evictsAbove: 12 * MIB } },
    /evictsAbove: .* received 12582912/,
  ],
  ['largeBytes below the minimum', { largeBytes: 1000 }, /largeBytes: expected a whole number, 262144 or more/],
  ['a timeout of 0', { timeoutMs: 0 }, /timeoutMs/],
];

for (const [description, options, message] of INVALID) {
  test(`rejects ${description}`, (t) => {
    const titles: string[] = [];
    const invalid = { ...required, test: (title: string) => titles.push(title), ...options };
    t.throws(() => storeConformance(invalid as never), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
    t.deepEqual(titles, [], 'no test is registered');
  });
}

test('titles start with the name and are unique', (t) => {
  const titles = titlesOf({ name: 'mine', capabilities: { evictsAbove: 16 * MIB } });
  t.true(titles.length > 30);
  t.is(new Set(titles).size, titles.length);
  t.true(titles.every((title) => title.startsWith('mine: ')));
  t.true(titlesOf({}).every((title) => title.startsWith('store: ')));
});

test('registers only the checks that apply to the capabilities', (t) => {
  const seed = () => {};
  const all = titlesOf({});
  const readOnly = titlesOf({ capabilities: { writable: false }, seed });
  t.true(readOnly.length >= 10 && readOnly.every((title) => all.includes(title)));
  t.deepEqual(
    readOnly.filter((title) => /upload|delet|overwrite|evict|clos/.test(title)),
    [],
  );
  t.deepEqual(
    titlesOf({ capabilities: { deletable: false } }).filter(
      (title) => /delet/.test(title) && !title.includes('purge()'),
    ),
    [],
  );
  t.is(all.length - titlesOf({ capabilities: { reportsCreated: false } }).length, 2);
  const withMetadata = titlesOf({ capabilities: { metadata: true } });
  t.deepEqual(
    all.filter((title) => !withMetadata.includes(title)),
    [],
  );
  t.is(withMetadata.length - all.length, 7, 'checks of metadata');
  t.deepEqual(titlesOf({ capabilities: { writable: false, metadata: true }, seed }), readOnly);
});

test('test bodies have a length of 0, so that no runner passes a callback', (t) => {
  const lengths = new Set<number>();
  storeConformance({ ...required, test: (_title, body) => lengths.add(body.length) });
  t.deepEqual([...lengths], [0]);
});

test('calls disposeStore after close(), also if the check failed', async (t) => {
  const events: string[] = [];
  const checks = new Map<string, () => Promise<void>>();
  storeConformance({
    test: (title, body) => checks.set(title, body),
    createStore: () => ({
      get: () => undefined,
      put: async () => ({ created: true }),
      delete: async () => true,
      close: async () => void events.push('closed'),
    }),
    disposeStore: (store) => void events.push(`disposed ${typeof store.get}`),
  });
  await t.throwsAsync(async () => checks.get('store: an artifact has the bytes that were stored')?.(), {
    message: /received a miss/,
  });
  t.deepEqual(events, ['closed', 'disposed function']);
});

test('runs at most four checks at the same time', async (t) => {
  const bodies: (() => Promise<void>)[] = [];
  let open = 0;
  let peak = 0;
  storeConformance({
    test: (_title, body) => bodies.push(body),
    createStore: () => {
      peak = Math.max(peak, ++open);
      return memoryStore();
    },
    disposeStore: () => open--,
  });
  await Promise.all(bodies.map((body) => body()));
  t.is(peak, 4);
  t.is(open, 0);
});
