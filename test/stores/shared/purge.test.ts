import test from 'ava';
import type { PurgeFilter, PurgeOptions, PurgeProgress } from '../../../src/contract/purge.js';
import { content, put, refusal, until } from '../fixture.js';
import { pair, share } from './fixture.js';

/** Store whose purge reports progress, and does not end before its signal is aborted. */
function endlessPurge() {
  const calls: { filter: PurgeFilter; options: PurgeOptions }[] = [];
  const purge = (filter: PurgeFilter, options: PurgeOptions = {}): Promise<never> => {
    calls.push({ filter, options });
    options.onProgress?.({ artifacts: 1, bytes: 2, scanned: 3 });
    return new Promise((_resolve, reject) => {
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason));
    });
  };
  return { calls, purge };
}

for (const kind of ['directory', 'segments'] as const) {
  test(`${kind}: the writer purges for another process, one purge at a time`, async (t) => {
    const { store } = await share(t, { kind });
    t.false(store.isWriter);
    await Promise.all(Array.from({ length: 200 }, (_, index) => put(store, `nx/${index}`, content(100))));
    await put(store, '.scopes/main/nx/0', content(10));
    const reports: PurgeProgress[] = [];
    const first = store.purge({ scope: 'default' }, { onProgress: (progress) => reports.push(progress) });
    await t.throwsAsync(store.purge({ scope: 'default' }), refusal('ERR_HOTBLOB_PURGING'));
    t.deepEqual(await first, { artifacts: 200, bytes: 20_000 });
    t.deepEqual(reports.at(-1), { artifacts: 200, bytes: 20_000, scanned: 201 });
    await t.throwsAsync(store.purge({ usedBefore: new Date('never') }), refusal('ERR_HOTBLOB_INVALID_OPTION'));
    t.deepEqual(await store.purge({ usedBefore: new Date(0) }), { artifacts: 0, bytes: 0 });
    t.deepEqual(await store.purge({}, { dryRun: true }), { artifacts: 1, bytes: 10 });
    await store.close();
  });
}

test('the writer stops a purge whose process cancels it', async (t) => {
  const { calls, purge } = endlessPurge();
  const { remote } = await pair(t, { purge });
  const controller = new AbortController();
  const reports: PurgeProgress[] = [];
  const usedBefore = new Date(1234);
  const purging = remote.purge(
    { scope: 'a', usedBefore },
    { signal: controller.signal, onProgress: (progress) => reports.push(progress) },
  );
  await until(() => reports.length > 0);
  t.deepEqual(reports, [{ artifacts: 1, bytes: 2, scanned: 3 }]);
  t.deepEqual(calls[0]?.filter, { scope: 'a', usedBefore });
  const reason = new Error('enough');
  controller.abort(reason);
  t.is(await t.throwsAsync(purging), reason);
  t.true(calls[0]?.options.signal?.aborted);
});

test('the writer stops a purge whose process fails while it receives the progress', async (t) => {
  const { calls, purge } = endlessPurge();
  const { remote } = await pair(t, { purge });
  const error = new Error('no more');
  const onProgress = (): never => {
    throw error;
  };
  t.is(await t.throwsAsync(remote.purge({}, { onProgress })), error);
  t.true(calls[0]?.options.signal?.aborted);
});

test('a writer that is about to end does not wait for a purge', async (t) => {
  const { calls, purge } = endlessPurge();
  const { writer, remote } = await pair(t, { purge });
  const purging = t.throwsAsync(remote.purge({}, {}), refusal('ERR_HOTBLOB_WRITER_GONE'));
  await until(() => calls.length > 0);
  await writer.drain({ acceptMs: 1_000_000, finishMs: 1_000_000 });
  await purging;
});
