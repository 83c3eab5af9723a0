import test from 'ava';
import { neverAborted } from '../../src/util/never-aborted.js';

test('returns a new signal that has not aborted', (t) => {
  t.false(neverAborted().aborted);
  t.not(neverAborted(), neverAborted());
});
