import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { storeConformance } from '../../src/testing/index.js';
import { refusal } from '../stores/fixture.js';

const required = { test: () => {}, createStore: () => memoryStore() };
const MIB = 1024 * 1024;

/** The titles that a set of options brings. */
function titlesOf(options: Partial<Parameters<typeof storeConformance>[0]>): string[] {
  const titles: string[] = [];
  storeConformance({ ...required, ...options, test: (title) => titles.push(title) });
  return titles;
}

const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['an unknown option', { capability: {} }, /unknown option 'capability'; expected one of .*capabilities/],
  ['no test function', { test: undefined }, /test: expected a function, received undefined/],
  ['no store', { createStore: undefined }, /createStore: expected a function/],
  ['a store for what makes one', { createStore: memoryStore() }, /createStore: expected a function/],
  [
    'an unknown capability',
    { capabilities: { writeable: false } },
    /unknown option 'writeable'; expected one of .*writable/,
  ],
  [
    'a capability that is no flag',
    { capabilities: { ranges: 'yes' } },
    /ranges: expected true or false, received 'yes'/,
  ],
  ['a read-only store without a seed', { capabilities: { writable: false } }, /seed: expected a function/],
  [
    'a limit below four large artifacts',
    { capabilities: { evictsAbove: 12 * MIB } },
    /evictsAbove: .* received 12582912/,
  ],
  ['large artifacts that are small', { largeBytes: 1000 }, /largeBytes: expected a whole number from 262144/],
  ['no time', { timeoutMs: 0 }, /timeoutMs/],
];

for (const [what, options, message] of WRONG) {
  test(`options are checked: ${what}`, (t) => {
    const titles: string[] = [];
    const given = { ...required, test: (title: string) => titles.push(title), ...options };
    t.throws(() => storeConformance(given as never), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
    t.deepEqual(titles, [], 'and nothing is registered');
  });
}

test('each title begins with the name, and is there once', (t) => {
  const titles = titlesOf({ name: 'mine', capabilities: { evictsAbove: 16 * MIB } });
  t.true(titles.length > 30);
  t.is(new Set(titles).size, titles.length);
  t.true(titles.every((title) => title.startsWith('mine: ')));
  t.true(titlesOf({}).every((title) => title.startsWith('store: ')));
});

test('what a store cannot do is not asked of it', (t) => {
  const seed = () => {};
  const all = titlesOf({});
  const readOnly = titlesOf({ capabilities: { writable: false }, seed });
  t.true(readOnly.length >= 10 && readOnly.every((title) => all.includes(title)));
  t.deepEqual(
    readOnly.filter((title) => /upload|delet|overwrite|evict|clos/.test(title)),
    [],
  );
  t.deepEqual(
    titlesOf({ capabilities: { deletable: false } }).filter((title) => /delet/.test(title)),
    [],
  );
  t.is(all.length - titlesOf({ capabilities: { tellsCreated: false } }).length, 2);
  const described = titlesOf({ capabilities: { metadata: true } });
  t.deepEqual(
    all.filter((title) => !described.includes(title)),
    [],
  );
  t.is(described.length - all.length, 7, 'only asked of stores that say so');
  t.deepEqual(titlesOf({ capabilities: { writable: false, metadata: true }, seed }), readOnly);
});

test('the bodies take no argument that a runner could take for a callback', (t) => {
  const lengths = new Set<number>();
  storeConformance({ ...required, test: (_title, body) => lengths.add(body.length) });
  t.deepEqual([...lengths], [0]);
});

test('what a store leaves behind is removed after it was closed, also when a check has failed', async (t) => {
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
    disposeStore: (store) => void events.push(`disposed of ${typeof store.get}`),
  });
  await t.throwsAsync(async () => checks.get('store: an artifact is read back, whole')?.(), {
    message: /nothing is found/,
  });
  t.deepEqual(events, ['closed', 'disposed of function']);
});

test('four checks run at the same time, however many are started', async (t) => {
  const bodies: (() => Promise<void>)[] = [];
  let open = 0;
  let most = 0;
  storeConformance({
    test: (_title, body) => bodies.push(body),
    createStore: () => {
      most = Math.max(most, ++open);
      return memoryStore();
    },
    disposeStore: () => open--,
  });
  await Promise.all(bodies.map((body) => body()));
  t.is(most, 4);
  t.is(open, 0);
});
