import type { ArtifactFilter } from '../contract/purge.js';
import { assertOptions, type OptionCheck } from '../contract/validation.js';
import { type ArtifactKey, parseArtifactKey } from './artifact-key.js';

export type { ArtifactFilter } from '../contract/purge.js';

const PATTERN: OptionCheck = {
  expected: "a name or a pattern with '*', not empty",
  accepts: (value) => typeof value === 'string' && value !== '',
};

/** Checks of the members of an {@link ArtifactFilter}. */
export const FILTER_CHECKS: Readonly<Record<keyof ArtifactFilter, OptionCheck>> = {
  scope: PATTERN,
  namespace: PATTERN,
  protocol: { expected: "the name of a protocol, such as 'turborepo'", accepts: PATTERN.accepts },
};

/**
 * Returns a function that tells whether a key of a store matches a filter.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown member or an invalid value
 */
export function keyMatcher(filter: ArtifactFilter): (storeKey: string) => boolean {
  assertOptions(filter, FILTER_CHECKS);
  const scope = patternMatcher(filter.scope);
  const namespace = patternMatcher(filter.namespace);
  const { protocol } = filter;
  const matches = (key: ArtifactKey): boolean =>
    (protocol === undefined || key.protocol === protocol) &&
    (scope === undefined || scope(key.scope)) &&
    (namespace === undefined || (key.namespace !== undefined && namespace(key.namespace)));
  return (storeKey) => matches(parseArtifactKey(storeKey));
}

/**
 * Returns a function that tells whether a text matches a pattern, in linear time. Only `*` has a meaning: any text, also empty.
 * Upper and lower case differ.
 */
export function patternMatcher(pattern: string): (text: string) => boolean;
export function patternMatcher(pattern: string | undefined): ((text: string) => boolean) | undefined;
export function patternMatcher(pattern: string | undefined): ((text: string) => boolean) | undefined {
  if (pattern === undefined) return undefined;
  const [start = '', ...parts] = pattern.split('*');
  const end = parts.pop();
  if (end === undefined) return (text) => text === pattern;
  return (text) => {
    if (text.length < start.length + end.length || !text.startsWith(start) || !text.endsWith(end)) return false;
    let position = start.length;
    const last = text.length - end.length;
    for (const part of parts) {
      const found = text.indexOf(part, position);
      if (found === -1 || found + part.length > last) return false;
      position = found + part.length;
    }
    return true;
  };
}
