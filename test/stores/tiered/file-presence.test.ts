import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { releaseFile } from '../../../src/page-cache/release-file.js';
import { FilePresence } from '../../../src/stores/tiered/file-presence.js';
import { temporaryDirectory } from '../fixture.js';

test('a file that is deleted while it is being checked is not remembered as present', async (t) => {
  const presence = new FilePresence();
  t.teardown(() => presence.close());
  const path = join(await temporaryDirectory(t), 'file');
  const artifact = { kind: 'file', path } as const;
  for (const forget of [() => releaseFile(path), async () => presence.clear()]) {
    writeFileSync(path, 'bytes');
    t.is(await presence.exists(artifact), true);
    await releaseFile(path);
    const checked = presence.exists(artifact);
    await forget();
    t.true(await checked);
    rmSync(path);
    t.is(await presence.exists(artifact), false);
  }
});
