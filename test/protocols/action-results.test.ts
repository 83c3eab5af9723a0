import { createHash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import test from 'ava';
import fc from 'fast-check';
import type { Store } from '../../src/contract/store.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { blobsOfActionResult, blobsOfTree } from '../../src/protocols/bazel/action-result.js';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content, put } from '../stores/fixture.js';
import { PROTOCOL_KINDS } from './fixture.js';

const ACTION = 'f'.repeat(64);

/** Encodes a field of a message in the encoding of Protocol Buffers. */
function field(number: number, value: Buffer | string | number): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.byteLength), bytes]);
}

function varint(value: number): Buffer {
  const rest = Math.floor(value / 128);
  return rest === 0 ? Buffer.from([value]) : Buffer.concat([Buffer.from([(value % 128) + 128]), varint(rest)]);
}

function hashOf(body: Buffer, algorithm = 'sha256'): string {
  return createHash(algorithm).update(body).digest('hex');
}

function digestOf(body: Buffer, hash = hashOf(body)): Buffer {
  return Buffer.concat([field(1, hash), field(2, body.byteLength)]);
}

function outputFile(path: string, body: Buffer, hash?: string): Buffer {
  return field(2, Buffer.concat([field(1, path), field(2, digestOf(body, hash)), field(4, 1)]));
}

/** A file, a directory with two files, stdout, and fields that have no digests. */
const OUTPUT = content(300, 1);
const STDOUT = content(300, 2);
const ROOT = content(300, 3);
const CHILD = content(300, 4);
const file = (body: Buffer) => field(1, Buffer.concat([field(1, 'name'), field(2, digestOf(body))]));
const TREE = Buffer.concat([field(1, file(ROOT)), field(2, file(CHILD)), field(2, file(Buffer.alloc(0)))]);
const RESULT = Buffer.concat([
  outputFile('a', OUTPUT),
  outputFile('empty', Buffer.alloc(0)),
  field(3, Buffer.concat([field(1, 'dir'), field(3, digestOf(TREE))])),
  field(4, 0),
  field(6, digestOf(STDOUT)),
  field(9, Buffer.concat([field(1, 'worker'), Buffer.from([0x19, 1, 2, 3, 4, 5, 6, 7, 8])])),
]);
const BLOBS = [OUTPUT, STDOUT, TREE, ROOT, CHILD];

for (const kind of PROTOCOL_KINDS) {
  test(`${kind}: an action result is a miss until all of its blobs are there, and after one is gone`, async (t) => {
    const { ask, handler } = await open(t, kind, { store: memoryStore(), protocols: [bazel()] });
    const reads: ResponseReport[] = [];
    const onReport = (message: unknown) => {
      const report = message as ResponseReport; // the channel has only reports
      if (report.sender === handler && report.method !== 'PUT') reads.push(report);
    };
    subscribe(RESPONSE_CHANNEL, onReport);
    t.teardown(() => unsubscribe(RESPONSE_CHANNEL, onReport));
    const path = `/bazel/team/ac/${ACTION}`;
    t.is((await ask('PUT', path, { body: RESULT })).status, 200);
    for (const body of BLOBS) {
      t.is((await ask('GET', path)).status, 404);
      t.is((await ask('PUT', `/bazel/team/cas/${hashOf(body)}`, { body })).status, 200);
    }
    assertBody(t, (await ask('GET', path)).body, RESULT);
    t.is((await ask('HEAD', path)).headers['content-length'], String(RESULT.byteLength));
    const { hits, misses } = handler.stats();
    t.deepEqual({ hits, misses }, { hits: 2, misses: BLOBS.length });
    const key = `bazel/instances/team/ac/${ACTION}`;
    t.deepEqual(
      reads.map(({ operation, status }) => [operation, status]),
      [...BLOBS.map(() => ['read', 404]), ['read', 200], ['read', 200]],
    );
    t.true(reads.every((read) => read.key === key));
    // Blobs of another instance do not count.
    t.is((await ask('PUT', `/bazel/ac/${ACTION}`, { body: RESULT })).status, 200);
    t.is((await ask('GET', `/bazel/ac/${ACTION}`)).status, 404);
  });

  test(`${kind}: each blob of an action result is looked up, which counts as a use, and a missing one makes it a miss`, async (t) => {
    const store = memoryStore();
    const looked = new Set<string>();
    let gone: string | undefined;
    const counting: Store = {
      get: (key, options) => {
        looked.add(key);
        return key === gone ? undefined : store.get(key, options);
      },
      put: (key, body, options) => store.put(key, body, options),
    };
    const { ask } = await open(t, kind, { store: counting, protocols: [bazel()] });
    await ask('PUT', `/bazel/ac/${ACTION}`, { body: RESULT });
    for (const body of BLOBS) await ask('PUT', `/bazel/cas/${hashOf(body)}`, { body });
    looked.clear();
    t.is((await ask('GET', `/bazel/ac/${ACTION}`)).status, 200);
    const keys = BLOBS.map((body) => `bazel/cas/${hashOf(body)}`);
    t.deepEqual([...looked].sort(), [...keys, `bazel/ac/${ACTION}`].sort());
    for (const key of keys) {
      gone = key;
      t.is((await ask('GET', `/bazel/ac/${ACTION}`)).status, 404, key);
    }
  });

  test(`${kind}: an empty action result is refused, and a miss if it is stored`, async (t) => {
    const store = memoryStore();
    const { ask } = await open(t, kind, { store, protocols: [bazel()] });
    const path = `/bazel/ac/${ACTION}`;
    t.is((await ask('PUT', path, { body: Buffer.alloc(0) })).status, 400);
    await put(store, `bazel/ac/${ACTION}`, Buffer.alloc(0));
    t.is((await ask('GET', path)).status, 404);
    const unchecked = await open(t, kind, { store, protocols: [bazel({ checkActionResults: false })] });
    t.is((await unchecked.ask('GET', path)).status, 200);
  });

  test(`${kind}: bytes below ac that are not an action result are sent unchecked, and JSON is checked`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [bazel()] });
    const path = `/bazel/ac/${ACTION}`;
    const json = { output_files: [{ path: 'a', digest: { hash: hashOf(OUTPUT), size_bytes: 300 } }], exit_code: 0 };
    for (const body of [content(1000), Buffer.from('{"a":1}'), Buffer.from('{not JSON'), RESULT.subarray(1)]) {
      t.is((await ask('PUT', path, { body })).status, 200);
      assertBody(t, (await ask('GET', path)).body, body);
    }
    t.is((await ask('PUT', path, { body: Buffer.from(JSON.stringify(json)) })).status, 200);
    t.is((await ask('GET', path)).status, 404);
    await ask('PUT', `/bazel/cas/${hashOf(OUTPUT)}`, { body: OUTPUT });
    t.is((await ask('GET', path)).status, 200);
    const unchecked = await open(t, kind, {
      store: memoryStore(),
      protocols: [bazel({ checkActionResults: false })],
    });
    await unchecked.ask('PUT', path, { body: RESULT });
    t.is((await unchecked.ask('GET', path)).status, 200);
  });

  test(`${kind}: digests are compared with the hash function of their length, and BLAKE3 is stored`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [bazel()] });
    for (const algorithm of ['sha1', 'sha256', 'sha384', 'sha512']) {
      const hash = hashOf(OUTPUT, algorithm);
      t.is((await ask('PUT', `/bazel/cas/${hash}`, { body: STDOUT })).status, 400, algorithm);
      t.is((await ask('PUT', `/bazel/cas/${hash}`, { body: OUTPUT })).status, 200, algorithm);
      assertBody(t, (await ask('GET', `/bazel/cas/${hash}`)).body, OUTPUT);
      const result = outputFile('a', OUTPUT, hash);
      t.is((await ask('PUT', `/bazel/ac/${hash}`, { body: result })).status, 200, algorithm);
      assertBody(t, (await ask('GET', `/bazel/ac/${hash}`)).body, result);
    }
    for (const instance of ['blake3', 'team/blake3']) {
      t.is((await ask('PUT', `/bazel/${instance}/cas/${ACTION}`, { body: OUTPUT })).status, 200);
      assertBody(t, (await ask('GET', `/bazel/${instance}/cas/${ACTION}`)).body, OUTPUT);
      // Other lengths are not BLAKE3.
      t.is((await ask('PUT', `/bazel/${instance}/cas/${ACTION.slice(24)}`, { body: OUTPUT })).status, 400);
    }
    t.is((await ask('PUT', `/bazel/blake3/team/cas/${ACTION}`, { body: OUTPUT })).status, 400);
    t.is((await ask('PUT', `/bazel/cas/${ACTION.slice(1)}`, { body: OUTPUT })).status, 400);
  });
}

test('bytes of any kind are parsed without an error, and an action result keeps its blobs among unknown fields', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      await blobsOfActionResult(Buffer.from(bytes));
      await blobsOfTree(Buffer.from(bytes));
    }),
  );
  const unknown = fc.tuple(fc.integer({ min: 20, max: 10_000 }), fc.oneof(fc.nat(), fc.string()));
  await fc.assert(
    fc.asyncProperty(
      fc.array(unknown, { maxLength: 5 }),
      fc.array(fc.nat({ max: 255 }), { maxLength: 5 }),
      async (others, seeds) => {
        const files = seeds.map((seed) => content(10, seed));
        const parts = [
          ...others.map(([number, value]) => field(number, value)),
          ...files.map((each) => outputFile('x', each)),
        ];
        const expected = { files: files.map((each) => hashOf(each)), trees: [] };
        t.deepEqual(await blobsOfActionResult(Buffer.concat(parts)), expected);
      },
    ),
  );
  t.deepEqual(await blobsOfActionResult(RESULT), { files: [hashOf(OUTPUT), hashOf(STDOUT)], trees: [hashOf(TREE)] });
  t.deepEqual((await blobsOfTree(TREE))?.files, [hashOf(ROOT), hashOf(CHILD)]);
  for (let end = 1; end < RESULT.byteLength; end++) await blobsOfActionResult(RESULT.subarray(0, end));
});

// Serial, because the CPU time is that of the process.
test.serial('a message of 1 MiB is parsed in less CPU time than it takes to hash it 300 times', async (t) => {
  const size = 2 ** 20;
  const repeat = (part: Buffer) => Buffer.alloc(size - (size % part.byteLength), part);
  const integer = Buffer.from('08ffffffffffffffffff01', 'hex');
  const messages = {
    integers: repeat(integer),
    'output files': repeat(outputFile('a', OUTPUT)),
    'empty fields': repeat(field(30, '')),
    tree: field(1, repeat(file(ROOT))),
  };
  const cpuTime = async (work: () => unknown) => {
    const before = process.cpuUsage();
    await work();
    return process.cpuUsage(before).user;
  };
  const hashing = await cpuTime(() => {
    for (let count = 0; count < 300; count++) hashOf(messages.integers);
  });
  for (const [name, message] of Object.entries(messages)) {
    const parse = () => (name === 'tree' ? blobsOfTree(message) : blobsOfActionResult(message));
    await parse(); // compiles the parser
    const parsing = await cpuTime(parse);
    t.true(parsing < hashing, `${name}: ${parsing} us, ${hashing} us to hash`);
  }
});

test('large or deep JSON and a message with more than 200,000 fields are not parsed', async (t) => {
  const digest = { hash: hashOf(OUTPUT), size_bytes: 300 };
  const json = (bytes: number) => Buffer.from(JSON.stringify({ digest, padding: ' '.repeat(bytes) }));
  t.deepEqual(await blobsOfActionResult(json(250 * 1024)), { files: [digest.hash], trees: [] });
  t.is(await blobsOfActionResult(json(256 * 1024)), undefined);
  const deep = (levels: number) =>
    Buffer.from(`{"a":${'['.repeat(levels)}${JSON.stringify(digest)}${']'.repeat(levels)}}`);
  t.deepEqual(await blobsOfActionResult(deep(60)), { files: [digest.hash], trees: [] });
  t.is(await blobsOfActionResult(deep(50_000)), undefined);
  const integers = (count: number) => Buffer.concat([outputFile('a', OUTPUT), Buffer.alloc(2 * count, field(4, 1))]);
  t.deepEqual(await blobsOfActionResult(integers(190_000)), { files: [digest.hash], trees: [] });
  t.is(await blobsOfActionResult(integers(200_000)), undefined);
});

test('an action result and its trees are checked up to 2 MiB; beyond that, a tree must exist', async (t) => {
  const { ask } = await open(t, 'http', { store: memoryStore(), protocols: [bazel()] });
  const path = `/bazel/ac/${ACTION}`;
  const large = Buffer.concat([outputFile('a', OUTPUT), field(30, Buffer.alloc(2 * 2 ** 20))]);
  await ask('PUT', path, { body: large });
  t.is((await ask('GET', path)).status, 200);
  const tree = (fill: number) => Buffer.concat([field(1, file(ROOT)), field(30, Buffer.alloc(1.5 * 2 ** 20, fill))]);
  const trees = [tree(1), tree(2)];
  const body = Buffer.concat(trees.map((each) => field(3, field(3, digestOf(each)))));
  await ask('PUT', path, { body });
  for (const each of [...trees, ROOT]) {
    t.is((await ask('GET', path)).status, 404);
    await ask('PUT', `/bazel/cas/${hashOf(each)}`, { body: each });
  }
  t.is((await ask('GET', path)).status, 200);
  // The second tree is beyond the limit, so that the files that it lists may be missing.
  const other = Buffer.concat([field(1, file(CHILD)), field(30, Buffer.alloc(1.5 * 2 ** 20))]);
  await ask('PUT', `/bazel/cas/${hashOf(other)}`, { body: other });
  await ask('PUT', path, { body: Buffer.concat([body, field(3, field(3, digestOf(other)))]) });
  t.is((await ask('GET', path)).status, 200);
});
