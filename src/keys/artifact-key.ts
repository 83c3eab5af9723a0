import { splitScope } from './scope.js';

/** Parts of a key in a store that operators select artifacts by. */
export interface ArtifactKey {
  readonly scope: string;
  /** Name of the protocol. A key without the prefix of a protocol of this package belongs to `plain`. */
  readonly protocol: string;
  /** Owner of the artifact, in the form in which access policies receive it; undefined if the key has none. */
  readonly namespace: string | undefined;
  /** Key within the scope, with the prefix of the protocol. */
  readonly key: string;
}

/**
 * Returns the namespace in a key without the prefix of its protocol. The protocols themselves only build keys; a test compares both
 * directions.
 */
type NamespaceOf = (key: string) => string | undefined;

const NONE: NamespaceOf = () => undefined;

/** Matches `<folder>/<encoded namespace>/<rest>`. */
function below(...folders: readonly string[]): NamespaceOf {
  return (key) => {
    const [folder = '', segment, ...rest] = key.split('/');
    return folders.includes(folder) && segment !== undefined && rest.length > 0 ? decode(segment) : undefined;
  };
}

const PROTOCOLS: ReadonlyMap<string, NamespaceOf> = new Map<string, NamespaceOf>([
  ['bazel', below('instances')],
  ['ccache', NONE],
  ['gradle', below('namespaces')],
  ['metro', NONE],
  ['nx', NONE],
  ['rush', (key) => (key.includes('/') ? firstSegmentOf(key) : undefined)],
  ['sccache', (key) => (key.indexOf('/') > 1 ? firstSegmentOf(key) : undefined)],
  // Both segments stay encoded, because their encoded form is the namespace.
  ['tuist', (key) => /^[^/]+\/[^/]+(?=\/)/.exec(key)?.[0]],
  ['turborepo', below('teams', 'slugs')],
]);

/** Names of the protocols of this package, in alphabetical order. */
export const PROTOCOL_NAMES: readonly string[] = [...PROTOCOLS.keys(), 'plain'].sort();

/** Returns the parts of a key in a store. */
export function parseArtifactKey(storeKey: string): ArtifactKey {
  const { scope, key } = splitScope(storeKey);
  const slash = key.indexOf('/');
  const protocol = slash === -1 ? '' : key.slice(0, slash);
  const namespaceOf = PROTOCOLS.get(protocol);
  if (namespaceOf === undefined) return { scope, protocol: 'plain', namespace: undefined, key };
  return { scope, protocol, namespace: namespaceOf(key.slice(slash + 1)), key };
}

function firstSegmentOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
