import assert from 'node:assert/strict';
import { errnoCode } from '../../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeProgress, PurgeResult } from '../../contract/purge.js';
import { assertEqual } from '../assert-equal.js';
import { assertBytes, content, StagedBody } from '../bodies.js';
import { outcomeOf } from '../promises.js';
import { assertStored, type Subject } from '../subject.js';
import { type Check, ifWritable } from './check.js';

const HOUR_MS = 60 * 60 * 1000;

/** Artifacts of two scopes, three protocols and two namespaces, with their sizes. */
const ARTIFACTS: Readonly<Record<string, number>> = {
  key: 10,
  'turborepo/teams/acme/0a': 2000,
  'turborepo/teams/other/0a': 50_000,
  'nx/0b': 300,
  '.scopes/pr%2f7/nx/0b': 4000,
  '.scopes/pr%2f7/turborepo/teams/acme/0a': 1,
  '.scopes/pr%2f8/nx/0b': 0,
};

const FILTERS: readonly (readonly [PurgeFilter, (key: string) => boolean])[] = [
  [{ scope: 'pr/7' }, (key) => key.startsWith('.scopes/pr%2f7/')],
  [{ scope: 'pr/*', protocol: 'nx' }, (key) => /^\.scopes\/.*\/nx\//.test(key)],
  [{ namespace: 'ac*' }, (key) => key.includes('/acme/')],
  [{ protocol: 'plain' }, (key) => key === 'key'],
  [{ scope: 'default', protocol: 'nx' }, (key) => key === 'nx/0b'],
  [{ scope: 'absent' }, () => false],
  [{}, () => true],
];

/** Checks of `purge`. A store without `purge` passes them, as one without `list` passes those of `list`. */
export const purging: readonly Check[] = [
  {
    title: 'purge() deletes the artifacts that match, and no others',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      assertEqual(await purge(subject, {}), { artifacts: 0, bytes: 0 }, 'result of purge() of an empty store');
      for (const [filter, matches] of FILTERS) {
        await addAll(subject);
        const expected = totalOf(Object.keys(ARTIFACTS).filter(matches));
        assertEqual(await purge(subject, filter, { dryRun: true }), expected, `result of a dry run of ${text(filter)}`);
        await assertRemaining(subject, () => true);
        assertEqual(await purge(subject, filter), expected, `result of purge(${text(filter)})`);
        await assertRemaining(subject, (key) => !matches(key));
      }
    },
  },
  {
    title: 'purge() keeps artifacts that were used after usedBefore',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      await addAll(subject);
      const nothing = { artifacts: 0, bytes: 0 };
      const usedBefore = new Date(Date.now() - HOUR_MS);
      assertEqual(await purge(subject, { usedBefore }), nothing, 'result of purge() of artifacts older than an hour');
      await assertRemaining(subject, () => true);
    },
  },
  {
    title: 'purge() rejects an unknown or invalid member of the filter, and deletes nothing',
    applies: ifWritable,
    async run(subject) {
      const { store } = subject;
      if (store.purge === undefined) return;
      await addAll(subject);
      const invalid: readonly object[] = [{ scopes: 'pr/7' }, { scope: '' }, { usedBefore: 1 }, { protocol: 7 }];
      for (const filter of invalid) {
        const outcome = await outcomeOf(() => purge(subject, filter));
        assert(!outcome.ok, `purge(${text(filter)}): expected a rejection`);
        assertEqual(errnoCode(outcome.error), 'ERR_HOTBLOB_INVALID_OPTION', `error code of purge(${text(filter)})`);
      }
      await assertRemaining(subject, () => true);
    },
  },
  {
    title: 'purge() with an aborted signal rejects with its reason, and deletes nothing',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      await addAll(subject);
      const reason = new Error('stopped');
      const outcome = await outcomeOf(() => purge(subject, {}, { signal: AbortSignal.abort(reason) }));
      assert(!outcome.ok, 'purge() with an aborted signal: expected a rejection');
      assertEqual(outcome.error, reason, 'error of purge() with an aborted signal');
      await assertRemaining(subject, () => true);
    },
  },
  {
    title: 'purge() reports its progress',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      await addAll(subject);
      const reports: PurgeProgress[] = [];
      const result = await purge(subject, { protocol: 'nx' }, { onProgress: (progress) => reports.push(progress) });
      for (const { artifacts, bytes, scanned } of reports) {
        const isValid =
          artifacts >= 0 && artifacts <= result.artifacts && artifacts <= scanned && bytes <= result.bytes;
        assert(
          isValid,
          `progress of purge(): expected at most ${text(result)}, received ${text({ artifacts, bytes, scanned })}`,
        );
      }
    },
  },
  {
    title: 'purge() does not affect a read in flight',
    applies: ({ writable, survivesDelete }) => writable && survivesDelete,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      const bytes = content(subject.largeBytes);
      await subject.put('key', bytes);
      const reader = await subject.openExisting('key');
      await subject.readChunk(reader);
      await purge(subject, {});
      await subject.assertMiss('key');
      assertBytes(await subject.readToEnd(reader), bytes, 'artifact that was read during purge()');
    },
  },
  {
    title: 'purge() does not affect uploads in flight, nor later ones',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.purge === undefined) return;
      const bytes = content(100_000, 2);
      await subject.put('key', content(1000));
      const body = new StagedBody();
      const upload = subject.upload('key', body.stream, { size: bytes.byteLength });
      await subject.withDeadline('consuming an upload', body.push(bytes.subarray(0, 60_000)));
      await purge(subject, {});
      await subject.assertMiss('key');
      await subject.withDeadline('consuming an upload', body.push(bytes.subarray(60_000)));
      body.end();
      assertStored(await subject.withDeadline('put()', upload));
      await subject.assertHolds('key', bytes);
      await subject.put('later', bytes);
      await subject.assertHolds('later', bytes);
    },
  },
];

async function purge(subject: Subject, filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult> {
  const { store } = subject;
  assert(store.purge !== undefined, 'the store has no purge()');
  return await subject.withDeadline('purge()', store.purge(filter, options));
}

async function addAll(subject: Subject): Promise<void> {
  for (const [seed, [key, size]] of Object.entries(ARTIFACTS).entries()) await subject.put(key, content(size, seed));
}

async function assertRemaining(subject: Subject, isExpected: (key: string) => boolean): Promise<void> {
  for (const [seed, [key, size]] of Object.entries(ARTIFACTS).entries()) {
    if (isExpected(key)) await subject.assertHolds(key, content(size, seed));
    else await subject.assertMiss(key);
  }
}

function totalOf(keys: readonly string[]): PurgeResult {
  return { artifacts: keys.length, bytes: keys.reduce((sum, key) => sum + (ARTIFACTS[key] ?? 0), 0) };
}

function text(value: object): string {
  return JSON.stringify(value);
}
