import { stat } from 'node:fs/promises';
import { errnoCode } from '../contract/errors.js';
import type { ArtifactFilter } from '../contract/purge.js';
import { PROTOCOL_NAMES } from '../keys/artifact-key.js';
import { CommandError, UsageError } from './command.js';
import { parseName } from './option-values.js';

/** Options that select artifacts. */
export const FILTER_OPTIONS = {
  scope: { type: 'string' },
  namespace: { type: 'string' },
  protocol: { type: 'string' },
} as const;

/** Lines of the help for {@link FILTER_OPTIONS}. */
export const FILTER_HELP = `  --scope GLOB        Artifacts of these scopes, such as 'pr/*'; * stands for any text (default: all)
  --namespace GLOB    Artifacts of these namespaces (default: all)
  --protocol NAME     Artifacts of this protocol; plain for all keys of no other protocol (default: all)
`;

/** Where artifacts are: a directory on this machine, or a running server. */
export type ArtifactSource = { readonly dir: string } | { readonly url: string };

/** @throws UsageError for an unknown protocol */
export function parseFilter(values: Readonly<Partial<Record<keyof typeof FILTER_OPTIONS, string>>>): ArtifactFilter {
  const { scope, namespace, protocol } = values;
  return {
    ...(scope !== undefined && { scope }),
    ...(namespace !== undefined && { namespace }),
    ...(protocol !== undefined && { protocol: parseName('--protocol', protocol, 'protocol', PROTOCOL_NAMES) }),
  };
}

/**
 * Resolves to what an argument names: a directory if there is one, otherwise the URL of a server. The scheme of a URL may be missing
 * if it has a port.
 *
 * @throws UsageError if there is not exactly one argument
 * @throws CommandError if it is neither
 */
export async function parseSource(positionals: readonly string[]): Promise<ArtifactSource> {
  const [text, ...rest] = positionals;
  if (text === undefined || rest.length > 0) throw new UsageError('expected one directory or URL');
  if (text.includes('://')) return { url: text };
  const stats = await stat(text).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT' && /^(?:\[[\da-f:]+\]|[\w.-]+):\d+(?:\/|$)/i.test(text)) return undefined;
    throw error;
  });
  if (stats === undefined) return { url: text };
  if (!stats.isDirectory()) throw new CommandError(`${text}: expected a directory, or the URL of a server`);
  return { dir: text };
}
