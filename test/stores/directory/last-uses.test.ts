import test from 'ava';
import { LastUses } from '../../../src/stores/directory/last-uses.js';
import { PRIVATE } from '../../../src/util/permissions.js';
import { fakeTime } from '../../helpers/fake-time.js';
import { temporaryDirectory } from '../fixture.js';

test.serial('a file whose times are in the future counts as used at its first scan', async (t) => {
  const time = fakeTime(t);
  const uses = new LastUses(await temporaryDirectory(t), PRIVATE);
  const scan = () =>
    uses.duringScan(async (lastUse) => {
      return lastUse({ key: 'a', inode: 1, bytes: 1, diskBytes: 1, usedAt: Date.now(), isFuture: true });
    });
  const first = (await scan()) ?? 0;
  await time.advance(3_600_000);
  const second = (await scan()) ?? 0;
  t.true(first > 0 && second <= first, `${first}, ${second}`);
});
