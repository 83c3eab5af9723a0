import test from 'ava';
import fc from 'fast-check';
import { DirectoryUsage } from '../../../src/stores/directory/usage.js';

test('a scan of a directory that only this store changes leaves the usage exact', (t) => {
  // Each change happens before or after the scan passes its file.
  const changes = fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.boolean()), { maxLength: 20 });
  fc.assert(
    fc.property(changes, (list) => {
      const usage = new DirectoryUsage();
      usage.beginScan();
      usage.endScan({ artifacts: 100, bytes: 5000 });
      usage.beginScan();
      const found = { artifacts: 100, bytes: 5000 };
      let bytes = 5000;
      for (const [change, isFound] of list) {
        usage.change(0, change);
        bytes += change;
        if (isFound) found.bytes += change;
      }
      usage.endScan(found);
      t.deepEqual(usage.totals, { artifacts: 100, bytes });
    }),
  );
});

test('a scan finds changes of other programs', (t) => {
  const usage = new DirectoryUsage();
  usage.beginScan();
  t.is(usage.totals, undefined);
  t.true(usage.endScan({ artifacts: 10, bytes: 100 }));
  usage.change(-1, -10);
  usage.beginScan();
  usage.endScan({ artifacts: 29, bytes: 990 });
  t.deepEqual(usage.totals, { artifacts: 29, bytes: 990 });
  usage.beginScan();
  usage.change(1, 10);
  usage.endScan({ artifacts: 1, bytes: 10 });
  t.deepEqual(usage.totals, { artifacts: 2, bytes: 20 }, 'at most what was found and added');
});

test('changes during the first scan count, whether or not it has found them', (t) => {
  const usage = new DirectoryUsage();
  usage.beginScan();
  usage.change(1, 10);
  usage.change(-1, -5);
  t.false(usage.endScan({ artifacts: 10, bytes: 100 }));
  t.deepEqual(usage.totals, { artifacts: 11, bytes: 110 });
});

test('a scan ends only when no change is in progress, because it may have seen it already', async (t) => {
  const usage = new DirectoryUsage();
  usage.beginScan();
  usage.endScan({ artifacts: 10, bytes: 1000 });
  usage.beginScan();
  let end = (): void => {};
  const changing = usage.during(async () => {
    // The file is unlinked; the scan does not find it any more.
    await new Promise<void>((resolve) => {
      end = resolve;
    });
    usage.change(-1, -100);
  });
  const ended = usage.afterOperations(() => usage.endScan({ artifacts: 9, bytes: 900 }));
  t.deepEqual(usage.totals, { artifacts: 10, bytes: 1000 });
  end();
  await changing;
  t.true(await ended);
  t.deepEqual(usage.totals, { artifacts: 9, bytes: 900 });
});

test('a scan ends although operations overlap without a pause', async (t) => {
  const usage = new DirectoryUsage();
  usage.beginScan();
  const ends: (() => void)[] = [];
  const start = (): Promise<void> => usage.during(() => new Promise((resolve) => ends.push(resolve)));
  const first = start();
  const ended = usage.afterOperations(() => 'ended');
  const second = start();
  ends[0]?.();
  t.is(await ended, 'ended');
  ends[1]?.();
  await Promise.all([first, second]);
});
