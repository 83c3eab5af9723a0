// Keys of requests: different artifacts have different keys, for any request.
import test from 'ava';
import fc from 'fast-check';
import { HotblobError } from '../../src/contract/errors.js';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { ccache } from '../../src/protocols/ccache.js';
import { gradle } from '../../src/protocols/gradle.js';
import { metro } from '../../src/protocols/metro.js';
import { MountedProtocols } from '../../src/protocols/mounted.js';
import { nx } from '../../src/protocols/nx.js';
import { keySegment } from '../../src/protocols/paths.js';
import { plain } from '../../src/protocols/plain.js';
import { rush } from '../../src/protocols/rush.js';
import { sccache } from '../../src/protocols/sccache.js';
import { turborepo } from '../../src/protocols/turborepo.js';

const mounted = new MountedProtocols([
  turborepo(),
  nx(),
  metro(),
  gradle(),
  bazel(),
  ccache(),
  sccache(),
  rush(),
  plain(),
]);

/** Returns the key in the store, or `undefined` for a request without a key. */
function keyOf(path: string, query = ''): string | undefined {
  const recognition = mounted.recognise({ method: 'PUT', path, query: new URLSearchParams(query), headers: {} });
  if (recognition === undefined) return undefined;
  if (recognition.operation === undefined) throw recognition.error;
  return recognition.key;
}

/** Request with the identity of its artifact. */
interface ArtifactRequest {
  /** Equal only for the same artifact. */
  readonly identity: readonly unknown[];
  readonly path: string;
  readonly query?: string;
}

const hex = (length: number) => fc.constantFrom('0', 'f').map((digit) => digit.repeat(length));
// Texts that are likely to collide: they look like parts of keys, paths and encodings.
const piece = fc.constantFrom(
  'a',
  'A',
  '.',
  '%',
  '/',
  '\\',
  '\u0000',
  ' ',
  'é',
  '𝄞',
  '%2F',
  'ac',
  'cas',
  'instances',
  '~',
);
const text = fc.oneof(
  fc.constant('a'),
  fc.array(piece, { minLength: 1, maxLength: 2 }).map((pieces) => pieces.join('')),
);
/** Segment of a namespace. Dot segments are refused. */
const segment = text.map((name) => name.replace(/[/\\]/g, '-')).filter((name) => name !== '.' && name !== '..');
const hash = fc.constantFrom('a', 'A', '_', 'a-a');

const turborepoRequest: fc.Arbitrary<ArtifactRequest> = fc
  .record({ team: fc.option(text), by: fc.constantFrom('teamId', 'slug'), name: hash })
  .map(({ team, by, name }) => ({
    identity: team === null ? ['turborepo', name] : ['turborepo', by, team, name],
    path: `/v8/artifacts/${name}`,
    query: team === null ? '' : `${by}=${encodeURIComponent(team)}`,
  }));

const bazelRequest: fc.Arbitrary<ArtifactRequest> = fc
  .record({ instance: fc.array(segment, { maxLength: 2 }), kind: fc.constantFrom('ac', 'cas'), name: hex(64) })
  .map(({ instance, kind, name }) => ({
    identity: ['bazel', instance, kind, name],
    path: `/bazel/${instance.map((part) => `${encodeURIComponent(part)}/`).join('')}${kind}/${name}`,
  }));

const gradleRequest: fc.Arbitrary<ArtifactRequest> = fc
  .record({ namespace: fc.array(segment, { maxLength: 2 }), name: hex(32) })
  .map(({ namespace, name }) => ({
    identity: ['gradle', namespace, name],
    path: `/gradle/${namespace.map((part) => `${encodeURIComponent(part)}/`).join('')}${name}`,
  }));

const ccacheRequest: fc.Arbitrary<ArtifactRequest> = fc
  .constantFrom('ac/', '00/', 'ff/', '')
  .chain((layout) => hex(layout === 'ac/' ? 64 : layout === '' ? 33 : 31).map((name) => layout + name))
  .map((name) => ({ identity: ['ccache', name], path: `/ccache/${name}` }));

const anyRequest = fc.oneof(
  { weight: 4, arbitrary: turborepoRequest },
  { weight: 4, arbitrary: bazelRequest },
  ccacheRequest,
  hash.map((name): ArtifactRequest => ({ identity: ['nx', name], path: `/v1/cache/${name}` })),
  hex(32).map((name): ArtifactRequest => ({ identity: ['metro', name], path: `/metro/${name}` })),
  gradleRequest,
);

test('two requests have the same key if and only if they are for the same artifact', (t) => {
  fc.assert(
    fc.property(anyRequest, anyRequest, (first, second) => {
      const [one, other] = [first, second].map(({ path, query }) => keyOf(path, query));
      if (one === undefined || other === undefined) return false;
      return (JSON.stringify(first.identity) === JSON.stringify(second.identity)) === (one === other);
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

test('no request reaches a key of another protocol', (t) => {
  const routes = [
    '/v8/artifacts/',
    '/v1/cache/',
    '/metro/',
    '/gradle/',
    '/bazel/',
    '/ccache/',
    '/sccache/',
    '/rush/',
    '/',
  ];
  const names = ['turborepo', 'nx', 'metro', 'gradle', 'bazel', 'ccache', 'sccache', 'rush'];
  const raw = fc.string({
    unit: fc.oneof(
      piece,
      fc.constantFrom('%2e', '%5C', '%00', '%FF', '%', 'bazel/', 'GRADLE/', '%6Eetro/', ...names),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    ),
    maxLength: 6,
  });
  fc.assert(
    fc.property(fc.constantFrom(...routes), raw, raw, (route, rest, query) => {
      let key: string | undefined;
      try {
        key = keyOf(route + rest, query);
      } catch (error) {
        return error instanceof HotblobError && [400, 414].includes(error.status);
      }
      const [first = ''] = key?.toLowerCase().split('/') ?? [];
      // The path of plain() can be below the route of a tool.
      const owner = names[routes.findIndex((each) => (route + rest).startsWith(each))];
      return !names.includes(first) || (owner !== undefined && key?.startsWith(`${owner}/`) === true);
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

test('keySegment returns a different, valid segment for each text', (t) => {
  const any = fc.oneof(
    text,
    fc.string({ unit: 'grapheme' }).filter((each) => !each.includes('\uFFFD')), // rejected, see below
  );
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [first, second] = [keySegment(a), keySegment(b)];
      return /^[\w%-]+$/.test(first) && (a === b) === (first === second);
    }),
    { numRuns: 2000 },
  );
  for (const invalid of ['\uFFFD', 'a\uFFFDb', '\uD800']) {
    t.throws(() => keySegment(invalid), { code: 'ERR_HOTBLOB_INVALID_KEY' });
  }
});
