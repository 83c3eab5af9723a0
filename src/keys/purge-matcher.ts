import type { PurgeFilter } from '../contract/purge.js';
import type { StoreEntry } from '../contract/store.js';
import { assertOptions, type OptionCheck } from '../contract/validation.js';
import { FILTER_CHECKS, keyMatcher } from './artifact-filter.js';

const CHECKS: Readonly<Record<keyof PurgeFilter, OptionCheck>> = {
  ...FILTER_CHECKS,
  usedBefore: {
    expected: 'a valid Date',
    accepts: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
  },
};

/**
 * Returns a function that tells whether an artifact of a store matches a filter. For stores that implement `purge`. They call it
 * once more when they delete the artifact, because it may have been used since.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown member or an invalid value
 */
export function purgeMatcher(filter: PurgeFilter): (artifact: Pick<StoreEntry, 'key' | 'usedAt'>) => boolean {
  assertOptions(filter, CHECKS);
  const { usedBefore, ...keyFilter } = filter;
  const matchesKey = keyMatcher(keyFilter);
  if (usedBefore === undefined) return ({ key }) => matchesKey(key);
  const limit = usedBefore.getTime();
  return ({ key, usedAt }) => usedAt > 0 && usedAt < limit && matchesKey(key);
}
