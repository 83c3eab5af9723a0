import type { ArtifactFilter } from '../../contract/purge.js';
import { PROTOCOL_NAMES } from '../../keys/artifact-key.js';
import { didYouMean } from '../../util/closest-name.js';

/** Members of an {@link ArtifactFilter} in a request. */
export const FILTER_MEMBERS = ['scope', 'namespace', 'protocol'] as const;

/** Returns the filter in the members of a query or a JSON object, or a sentence about the first member that is not valid. */
export function filterIn(
  members: Readonly<Record<string, unknown>>,
  otherMembers: readonly string[] = [],
): ArtifactFilter | string {
  const filter: Record<string, string> = {};
  const known = [...FILTER_MEMBERS, ...otherMembers];
  for (const [name, value] of Object.entries(members)) {
    if (!known.includes(name)) {
      return `unknown member '${name}'${didYouMean(name, known)}; expected one of ${known.join(', ')}`;
    }
    if (otherMembers.includes(name)) continue;
    if (typeof value !== 'string' || value === '') {
      return `${name}: expected a text that is not empty, received ${JSON.stringify(value)}`;
    }
    if (name === 'protocol' && !PROTOCOL_NAMES.includes(value)) {
      return `protocol: unknown protocol '${value}'${didYouMean(value, PROTOCOL_NAMES)}; expected one of ${PROTOCOL_NAMES.join(', ')}`;
    }
    filter[name] = value;
  }
  return filter;
}
