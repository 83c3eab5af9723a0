/**
 * Second implementation of the routes of all protocols of `hotblob serve`, except Tuist. It works on path segments instead of
 * patterns, and decodes percent-encoding byte by byte.
 */

/** Key and operation of a request, or the status of a request that is refused. */
export type Routed =
  | { readonly key: string; readonly operation: 'read' | 'upload' | 'delete' }
  | 'unsupported'
  | 'answered'
  | 400
  | 414;

const TOOLS = ['turborepo', 'nx', 'metro', 'gradle', 'bazel', 'ccache', 'sccache', 'rush'];
const WEBDAV = ['PROPFIND', 'MKCOL'];
const VERBS = { GET: 'read', HEAD: 'read', PUT: 'upload', DELETE: 'delete' } as const;

export function routeAgain(method: string, path: string, query: string): Routed {
  const all = path.slice(1).split('/');
  // A base URL that ends with a slash, followed by the slash of the build tool, results in two slashes.
  const [first = '', ...rest] = all[0] === '' && all.length > 1 ? all.slice(1) : all;
  if (first === 'v8' && rest[0] === 'artifacts') return turborepo(method, rest.slice(1), query);
  // The other build tools have a prefix of one segment behind one slash. A second slash may follow it.
  if (path.startsWith('//'))
    return first === 'v1' && rest[0] === 'cache' && rest.length > 1 ? nx(method, rest.slice(1)) : plain(method, all);
  if (first === 'v1' && rest[0] === 'cache' && rest.length > 1) return nx(method, rest.slice(1));
  if (rest.length === 0) return plain(method, all);
  const below = rest[0] === '' && rest.length > 1 ? rest.slice(1) : rest;
  const [name = '', ...more] = below;
  switch (first) {
    case 'metro':
      return toolRoute(
        method,
        more.length === 0 && consistsOf(HEX_OF_ANY_CASE, name, 2, 128),
        `metro/${name.toLowerCase()}`,
      );
    case 'gradle':
      return gradle(method, below);
    case 'bazel':
      return bazel(method, below);
    case 'ccache':
      return toolRoute(method, isCcache(below), `ccache/${below.join('/')}`, true);
    case 'sccache':
      return sccache(method, rest);
    case 'rush':
      return rush(method, below);
    default:
      return plain(method, all);
  }
}

const HEX = '0123456789abcdef';
const HEX_OF_ANY_CASE = `${HEX}ABCDEF`;
const BASE_32 = `${HEX}ghijklmnopqrstuv`;
const WORD = `${HEX_OF_ANY_CASE}${'ghijklmnopqrstuvwxyz'}${'GHIJKLMNOPQRSTUVWXYZ'}_-`;

function consistsOf(alphabet: string, text: string, least: number, most = least): boolean {
  return text.length >= least && text.length <= most && [...text].every((character) => alphabet.includes(character));
}

function toolRoute(method: string, isKey: boolean, key: string, isDeletable = false): Routed {
  if (!isKey) return 400;
  if (Buffer.byteLength(key) > 1024) return 414;
  if (!(method in VERBS) || (method === 'DELETE' && !isDeletable)) return 'unsupported';
  return { key, operation: VERBS[method as keyof typeof VERBS] };
}

function nx(method: string, [hash = '', ...more]: readonly string[]): Routed {
  return toolRoute(method, more.length === 0 && consistsOf(WORD, hash, 1, 128), `nx/${hash}`);
}

function turborepo(method: string, rest: readonly string[], query: string): Routed {
  if (method === 'OPTIONS') return 'answered';
  const parameters = new URLSearchParams(query);
  const [team, of] = parameters.get('teamId') ? [parameters.get('teamId'), 'teams'] : [parameters.get('slug'), 'slugs'];
  if (team?.includes('\uFFFD')) return 400;
  const [name = '', ...more] = rest;
  if (more.length === 0 && ['', 'status', 'events'].includes(name)) {
    const isAnswered = name === 'status' ? method === 'GET' || method === 'HEAD' : method === 'POST';
    return isAnswered ? 'answered' : 'unsupported';
  }
  const owner = team ? `${of}/${escaped(team)}` : 'no-team';
  const isKey = more.length === 0 && consistsOf(WORD, name, 1, 128);
  return toolRoute(method, isKey, `turborepo/${owner}/${name}`);
}

function bazel(method: string, below: readonly string[]): Routed {
  if (below.length === 1 && below[0] === 'status')
    return method === 'GET' || method === 'HEAD' ? 'answered' : 'unsupported';
  const [kind = '', hash = ''] = below.slice(-2);
  const isHash = consistsOf(HEX, hash, 1, 128) && [40, 64, 96, 128].includes(hash.length);
  const owner = ownerOf(below.slice(0, -2), 'instances');
  if (!['ac', 'cas'].includes(kind) || below.length < 2 || !isHash || owner === undefined) return 400;
  return toolRoute(method, true, `bazel/${owner}${kind}/${hash}`);
}

function gradle(method: string, below: readonly string[]): Routed {
  const [hash = ''] = below.slice(-1);
  const owner = ownerOf(below.slice(0, -1), 'namespaces');
  if (!consistsOf(HEX, hash, 32, 128) || owner === undefined) return 400;
  return toolRoute(method, true, `gradle/${owner}${hash}`);
}

/** Prefix of the keys of a namespace. Returns `undefined` if the segments are not a namespace. */
function ownerOf(segments: readonly string[], folder: string): string | undefined {
  const names = segments.map(decoded);
  if (['', '.', '..', undefined].some((each) => names.includes(each)) || names.join('/').includes('\uFFFD'))
    return undefined;
  return names.length === 0 ? '' : `${folder}/${escaped(names.join('/'))}/`;
}

function rush(method: string, below: readonly string[]): Routed {
  const key = decoded(below.join('/'));
  if (key === undefined) return 400;
  const refusal = refusalOf(`rush/${key}`);
  if (refusal !== undefined) return refusal;
  if (method === 'POST') return { key: `rush/${key}`, operation: 'upload' };
  return toolRoute(method, true, `rush/${key}`);
}

function isCcache(below: readonly string[]): boolean {
  const [first = '', second] = below;
  if (below.length > 2) return false;
  if (second === undefined) return consistsOf(BASE_32, first, 33) || consistsOf(HEX, first, 40);
  const isOfBazel = first === 'ac' && consistsOf(HEX, second, 64);
  const isOld = consistsOf(BASE_32, first, 2) && consistsOf(BASE_32, second, 31);
  return isOfBazel || isOld || (consistsOf(HEX, first, 2) && consistsOf(HEX, second, 38));
}

function sccache(method: string, rest: readonly string[]): Routed {
  const start = rest.findIndex((segment) => segment !== '');
  const key = decoded((start === -1 ? [''] : rest.slice(start)).join('/'));
  if (key === undefined) return 400;
  if (WEBDAV.includes(method)) {
    const isCollection = method === 'MKCOL' || key === '' || key.endsWith('/');
    const refusal = isCollection && key !== '' ? refusalOf(key.replace(/\/$/, '')) : undefined;
    return refusal ?? 'answered';
  }
  if (!(method in VERBS)) return 'unsupported';
  return refusalOf(`sccache/${key}`) ?? { key: `sccache/${key}`, operation: VERBS[method as keyof typeof VERBS] };
}

function plain(method: string, segments: readonly string[]): Routed {
  const key = decoded(segments.join('/'));
  if (key === undefined) return 400;
  const refusal = refusalOf(key);
  if (refusal !== undefined) return refusal;
  const [first = ''] = key.split('/');
  if (TOOLS.includes(first.toLowerCase())) return 400;
  return method in VERBS ? { key, operation: VERBS[method as keyof typeof VERBS] } : 'unsupported';
}

function refusalOf(key: string): 400 | 414 | undefined {
  const bytes = Buffer.from(key);
  if (bytes.byteLength > 1024) return 414;
  const hasOddBytes = bytes.some((byte) => byte < 32 || byte === 127 || byte === 92);
  return hasOddBytes || key.split('/').some((segment) => ['', '.', '..'].includes(segment)) ? 400 : undefined;
}

/** Returns `undefined` for invalid percent-encoding, bytes that are not UTF-8, and encoded separators. */
function decoded(text: string): string | undefined {
  if ([...text].some((character) => character <= ' ' || character > '~')) return undefined;
  const runs = text.split(/((?:%[0-9A-Fa-f]{2})+)/);
  const parts = runs.map((run, index) => {
    if (index % 2 === 0) return run.includes('%') ? undefined : run;
    const bytes = Buffer.from(run.replaceAll('%', ''), 'hex');
    if (bytes.includes('/') || bytes.includes('\\')) return undefined;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return undefined;
    }
  });
  return parts.includes(undefined) ? undefined : parts.join('');
}

/** Free text as one segment. */
function escaped(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const character = String.fromCharCode(byte);
    return byte < 128 && WORD.includes(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return bytes.join('');
}
