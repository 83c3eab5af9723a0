import test from 'ava';
import { parseJson } from '../../src/protocols/parse-json.js';
import type { AnswerOperation, ProtocolArtifacts, ProtocolRequest } from '../../src/protocols/protocol.js';
import { turborepo } from '../../src/protocols/turborepo.js';
import { countIterations, useFastClock } from '../helpers/fast-clock.js';
import { MIB } from '../helpers/files.js';

const parse = (text: string): Promise<unknown> => parseJson(Buffer.from(text));

test.serial('returns the value, whatever its strings contain', async (t) => {
  const values = [
    { hashes: Array.from({ length: 10_000 }, (_, index) => `hash-${index}`) },
    { '[{"': '\\"[,]:{}\\', text: 'ü'.repeat(100_000), list: [[], {}, null, 1.5, true] },
    ['[{,:'.repeat(25_000), '\\'.repeat(200_000), '"'.repeat(200_000)],
    '',
    0,
  ];
  for (const value of values) t.deepEqual(await parse(JSON.stringify(value)), value);
  t.deepEqual(await parse(`${'['.repeat(64)}${']'.repeat(64)}`), JSON.parse(`${'['.repeat(64)}${']'.repeat(64)}`));
});

test.serial('rejects what JSON.parse would need long for, and what is not JSON', async (t) => {
  const long = [
    '['.repeat(MIB),
    `${'['.repeat(65)}${']'.repeat(65)}`,
    '{"a":'.repeat(100_000),
    `[${'{},'.repeat(300_000)}0]`,
    `["\\"",${'0,'.repeat(25_000)}0]`,
  ];
  for (const text of long) {
    await t.throwsAsync(parse(text), { instanceOf: RangeError, message: /^JSON: expected at most (25000 v|64 l)/ });
  }
  for (const text of ['', '{', '"', '"\\', ']', '{"a" 1}'])
    await t.throwsAsync(parse(text), { instanceOf: SyntaxError });
  await t.throwsAsync(parseJson(Buffer.of(0x22, 0xff, 0x22)), { instanceOf: TypeError });
});

test.serial('a text of 1 MiB is examined in slices', async (t) => {
  useFastClock(t);
  for (const value of ['x'.repeat(MIB), '\\'.repeat(MIB / 2)]) {
    t.true((await countIterations(parse(JSON.stringify([value])))) >= 8);
  }
});

/** Answers an artifact query of Turborepo, with artifacts that all have `tag`. */
function query(hashes: readonly string[], tag: string, onLookup = () => {}): Promise<Uint8Array> {
  const request = { method: 'POST', path: '/v8/artifacts', query: new URLSearchParams(), headers: {} };
  const operation = turborepo().route(request as unknown as ProtocolRequest) as AnswerOperation;
  const artifacts = {
    signal: new AbortController().signal,
    readBody: async () => Buffer.from(JSON.stringify({ hashes })),
    describe: async () => {
      onLookup();
      return { size: 1, metadata: { headers: { 'x-artifact-tag': tag } } };
    },
  };
  const reply = operation.answer(artifacts as unknown as ProtocolArtifacts);
  return Promise.resolve(reply).then((each) => {
    if (!('status' in each) || typeof each.body?.text !== 'object') throw new Error('expected a response in UTF-8');
    return each.body.text;
  });
}

test.serial('the hashes of a query are validated in slices before the first lookup', async (t) => {
  useFastClock(t);
  const hashes = Array.from({ length: 10_000 }, (_, index) => `hash-${index}`);
  let isLookingUp = false;
  let iterationsBefore = 0;
  const answer = query(hashes, 'tag', () => {
    isLookingUp = true;
  });
  await countIterations(answer, () => {
    if (!isLookingUp) iterationsBefore++;
  });
  t.true(iterationsBefore >= 10, `${iterationsBefore} iterations`);
  const described: unknown = JSON.parse(Buffer.from(await answer).toString());
  t.deepEqual(described, Object.fromEntries(hashes.map((hash) => [hash, { size: 1, taskDurationMs: 0, tag: 'tag' }])));
});

test.serial('the answer to a query is limited, and each hash is answered once', async (t) => {
  t.is(Buffer.from(await query([], '')).toString(), '{}');
  t.is(Buffer.from(await query(['a', 'a'], 'x')).toString(), '{"a":{"size":1,"taskDurationMs":0,"tag":"x"}}');
  const hashes = Array.from({ length: 10_000 }, (_, index) => `hash-${index}`);
  await t.throwsAsync(query(hashes, 'x'.repeat(4000)), {
    code: 'ERR_HOTBLOB_BAD_REQUEST',
    message: /query fewer hashes/,
  });
});
