// Which keys requests come to: whatever a client sends, what is not the same is never the same key.
import test from 'ava';
import fc from 'fast-check';
import { HotblobError } from '../../src/contract/errors.js';
import { bazel } from '../../src/protocols/bazel.js';
import { ccache } from '../../src/protocols/ccache.js';
import { gradle } from '../../src/protocols/gradle.js';
import { metro } from '../../src/protocols/metro.js';
import { MountedProtocols } from '../../src/protocols/mounted.js';
import { nx } from '../../src/protocols/nx.js';
import { keySegment } from '../../src/protocols/paths.js';
import { plain } from '../../src/protocols/plain.js';
import { sccache } from '../../src/protocols/sccache.js';
import { turborepo } from '../../src/protocols/turborepo.js';

const mounted = new MountedProtocols([turborepo(), nx(), metro(), gradle(), bazel(), ccache(), sccache(), plain()]);

/** The key in the store; undefined for a request that has none. */
function keyOf(path: string, query = ''): string | undefined {
  const recognition = mounted.recognise({ method: 'PUT', path, query: new URLSearchParams(query), headers: {} });
  if (recognition === undefined) return undefined;
  if (recognition.operation === undefined) throw recognition.error;
  return recognition.key;
}

/** An artifact, and a request for it. */
interface Named {
  /** What it is; equal for the same artifact only. */
  readonly identity: readonly unknown[];
  readonly path: string;
  readonly query?: string;
}

const hex = (length: number) => fc.constantFrom('0', 'f').map((digit) => digit.repeat(length));
// What is likely to meet: texts that look like parts of keys, paths and encodings.
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
const segment = text.map((name) => name.replace(/[/\\]/g, '-'));
const hash = fc.constantFrom('a', 'A', '_', 'a-a');

const ofTurborepo: fc.Arbitrary<Named> = fc
  .record({ team: fc.option(text), by: fc.constantFrom('teamId', 'slug'), name: hash })
  .map(({ team, by, name }) => ({
    identity: team === null ? ['turborepo', name] : ['turborepo', by, team, name],
    path: `/v8/artifacts/${name}`,
    query: team === null ? '' : `${by}=${encodeURIComponent(team)}`,
  }));

const ofBazel: fc.Arbitrary<Named> = fc
  .record({ instance: fc.array(segment, { maxLength: 2 }), kind: fc.constantFrom('ac', 'cas'), name: hex(64) })
  .map(({ instance, kind, name }) => ({
    identity: ['bazel', instance, kind, name],
    path: `/bazel/${instance.map((part) => `${encodeURIComponent(part)}/`).join('')}${kind}/${name}`,
  }));

const ofCcache: fc.Arbitrary<Named> = fc
  .constantFrom('ac/', '00/', 'ff/', '')
  .chain((layout) => hex(layout === 'ac/' ? 64 : layout === '' ? 33 : 31).map((name) => layout + name))
  .map((name) => ({ identity: ['ccache', name], path: `/ccache/${name}` }));

const named = fc.oneof(
  { weight: 4, arbitrary: ofTurborepo },
  { weight: 4, arbitrary: ofBazel },
  ofCcache,
  hash.map((name): Named => ({ identity: ['nx', name], path: `/v1/cache/${name}` })),
  hex(32).map((name): Named => ({ identity: ['metro', name], path: `/metro/${name}` })),
  hex(32).map((name): Named => ({ identity: ['gradle', name], path: `/gradle/${name}` })),
);

test('two artifacts never have the same key, and one always has', (t) => {
  fc.assert(
    fc.property(named, named, (first, second) => {
      const [one, other] = [first, second].map(({ path, query }) => keyOf(path, query));
      if (one === undefined || other === undefined) return false;
      return (JSON.stringify(first.identity) === JSON.stringify(second.identity)) === (one === other);
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

test('whatever is asked for, nobody gets at the keys of another', (t) => {
  const routes = ['/v8/artifacts/', '/v1/cache/', '/metro/', '/gradle/', '/bazel/', '/ccache/', '/sccache/', '/'];
  const names = ['turborepo', 'nx', 'metro', 'gradle', 'bazel', 'ccache', 'sccache'];
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
      // What follows the slash of plain() may be the path of a tool.
      const owner = names[routes.findIndex((each) => (route + rest).startsWith(each))];
      return !names.includes(first) || (owner !== undefined && key?.startsWith(`${owner}/`) === true);
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

test('free text as a segment of a key: no two are the same, and each is a segment', (t) => {
  const any = fc.oneof(
    text,
    fc.string({ unit: 'grapheme' }).filter((each) => !each.includes('\uFFFD')), // which is refused, see below
  );
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [first, second] = [keySegment(a), keySegment(b)];
      return /^[\w%-]+$/.test(first) && (a === b) === (first === second);
    }),
    { numRuns: 2000 },
  );
  for (const unreadable of ['\uFFFD', 'a\uFFFDb', '\uD800']) {
    t.throws(() => keySegment(unreadable), { code: 'ERR_HOTBLOB_INVALID_KEY' });
  }
});
