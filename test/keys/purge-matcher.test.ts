import test from 'ava';
import { purgeMatcher } from '../../src/keys/purge-matcher.js';

test('an artifact matches if its key matches and it was used before the time', (t) => {
  const matches = purgeMatcher({ scope: 'pr/*', usedBefore: new Date(1000) });
  const key = '.scopes/pr%2f7/nx/1';
  t.true(matches({ key, usedAt: 999 }));
  t.false(matches({ key, usedAt: 1000 }));
  t.false(matches({ key: 'nx/1', usedAt: 999 }));
});

test('an artifact whose last use is not known matches only without usedBefore', (t) => {
  t.false(purgeMatcher({ usedBefore: new Date() })({ key: 'a', usedAt: 0 }));
  t.true(purgeMatcher({})({ key: 'a', usedAt: 0 }));
});

test('rejects an invalid filter', (t) => {
  const code = 'ERR_HOTBLOB_INVALID_OPTION';
  t.throws(() => purgeMatcher({ usedBefore: new Date('never') }), {
    code,
    message: /usedBefore: expected a valid Date/,
  });
  t.throws(() => purgeMatcher({ usedBefor: new Date() } as object), {
    code,
    message: /unknown option 'usedBefor'; expected one of scope, namespace, protocol, usedBefore/,
  });
});
