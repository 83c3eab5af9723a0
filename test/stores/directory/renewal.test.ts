import test from 'ava';
import { Renewal } from '../../../src/stores/directory/renewal.js';
import { DirectoryUsage } from '../../../src/stores/directory/usage.js';

test('the result of a scan counts also if a file was lost during the scan', async (t) => {
  const usage = new DirectoryUsage();
  let bytes = 1000;
  let duringScan = (): void => {};
  const renewal = new Renewal({
    maxBytes: 1e9,
    maxAgeMs: Number.POSITIVE_INFINITY,
    usage,
    groups: [],
    onRenewed: () => {},
    scan: async () => {
      duringScan();
      return { totals: { artifacts: 1, bytes }, groups: [] };
    },
  });
  await renewal.run();
  bytes = 900_000; // another program has added files
  duringScan = () => renewal.markStale();
  await renewal.run();
  t.deepEqual(usage.totals, { artifacts: 1, bytes: 900_000 });
});
