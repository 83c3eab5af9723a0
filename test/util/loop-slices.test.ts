import test from 'ava';
import { Downloads } from '../../src/dashboard/downloads.js';
import { pageRuns } from '../../src/dashboard/page-runs.js';
import { Residency } from '../../src/dashboard/residency.js';
import { createHandler } from '../../src/handler/handler.js';
import { turborepo } from '../../src/protocols/index.js';
import { request } from '../helpers/client.js';
import { measureLoop } from '../helpers/loop.js';
import { startServer } from '../helpers/servers.js';

const HASHES = 10_000;
const LOOKUP_MS = 0.05;

/** Lookup in an index that takes as long as it does with lmdb and cold caches. */
function lookUp(): undefined {
  const until = performance.now() + LOOKUP_MS;
  while (performance.now() < until);
}

test('a query for 10,000 hashes lets other requests be served in between', async (t) => {
  const handler = createHandler({ store: { get: lookUp }, protocols: [turborepo()] });
  const hashes = Array.from({ length: HASHES }, (_, index) => `hash-${index}`);
  for (const kind of ['http', 'h2c'] as const) {
    const server = await startServer(t, kind, handler);
    const body = Buffer.from(JSON.stringify({ hashes }));
    const { duration, longestBlock } = await measureLoop(async () => {
      const response = await request(server, { method: 'POST', path: '/v8/artifacts', body });
      t.is(Object.keys(JSON.parse(response.body.toString())).length, HASHES);
    });
    t.true(duration > HASHES * LOOKUP_MS);
    t.true(longestBlock < duration / 3, `${longestBlock} of ${duration} ms`);
  }
});

test('a map of 200,000 artifacts is made in slices', async (t) => {
  const artifact = { kind: 'bytes', bytes: Buffer.alloc(0) } as const;
  async function* list() {
    for (let index = 0; index < 200_000; index++) yield { key: `${index}`, size: index, usedAt: 0, artifact };
  }
  const residency = new Residency({ list }, new Downloads({}));
  const { duration, longestBlock } = await measureLoop(async () => {
    const map = await residency.map();
    t.is(map?.total.artifacts, 200_000);
    t.deepEqual(
      map?.cells.slice(0, 2).map(({ key }) => key),
      ['199999', '199998'],
    );
  });
  t.true(longestBlock < duration / 3, `${longestBlock} of ${duration} ms`);
});

test('page runs are combined into blocks until there are at most 20,000', async (t) => {
  t.deepEqual(await pageRuns(Uint8Array.of(1, 1, 0, 1)), {
    block: 1,
    runs: [
      [1, 2],
      [0, 1],
      [1, 1],
    ],
  });
  t.deepEqual(await pageRuns(new Uint8Array(0)), { block: 1, runs: [] });
  // Every fourth page is missing in the first half of a file of 4 GiB: 131,072 gaps.
  const map = new Uint8Array(2 ** 20).fill(1);
  for (let page = 0; page < 2 ** 19; page += 4) map[page] = 0;
  t.deepEqual(await pageRuns(map), {
    block: 4,
    runs: [
      [0, 2 ** 17],
      [1, 2 ** 17],
    ],
  });
  // Three single gaps of many: the last block has one page.
  const sparse = new Uint8Array(80_001).fill(1);
  for (let page = 0; page < 80_000; page += 2) sparse[page] = 0;
  t.deepEqual(await pageRuns(sparse), {
    block: 2,
    runs: [
      [0, 40_000],
      [1, 1],
    ],
  });
});
