import { inspect } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { parseTokenLines } from '../../src/access/token-lines.js';

const SECRET = 'S3CRET-that-nobody-may-see';

test('a file with all that it may hold', (t) => {
  const text = [
    '\uFEFF# who may use the cache',
    '',
    'write aaaaaaaaaaaaaaaa',
    '  read\tbbb/+.~_-bbb==   # developers\r',
    '\r',
    '#write cccccccccccccccc',
    'write dddddddddddddddd protocols=turborepo,nx',
    'write dddddddddddddddd namespaces=team_web,a%20b,c%2Cd,%23e,f=g protocols=gradle # two lines, one token',
    'read eeeeeeeeeeeeeeee #',
  ].join('\n');
  t.deepEqual(parseTokenLines(text, 'tokens'), [
    { line: 3, entry: { level: 'write', token: 'aaaaaaaaaaaaaaaa' } },
    { line: 4, entry: { level: 'read', token: 'bbb/+.~_-bbb==' } },
    { line: 7, entry: { level: 'write', token: 'dddddddddddddddd', protocols: ['turborepo', 'nx'] } },
    {
      line: 8,
      entry: {
        level: 'write',
        token: 'dddddddddddddddd',
        namespaces: ['team_web', 'a b', 'c,d', '#e', 'f=g'],
        protocols: ['gradle'],
      },
    },
    { line: 9, entry: { level: 'read', token: 'eeeeeeeeeeeeeeee' } },
  ]);
});

test('a file without tokens is one', (t) => {
  for (const text of ['', '\n', '# nobody', ' \t\r\n\r\n#\n']) t.deepEqual(parseTokenLines(text, 'tokens'), []);
});

for (const [what, line, message] of [
  ['a token alone', SECRET, /expected 'read', 'write' first$/],
  ['a token first', `${SECRET} write`, /expected 'read', 'write' first$/],
  ['a level in upper case', `Write ${SECRET}`, /expected 'read', 'write' first$/],
  ['a level alone', 'write', /expected a token second/],
  ['a level and a comment', `write # ${SECRET}`, /expected a token second/],
  ['a token in quotes', `write "${SECRET}"`, /expected a token second/],
  ['a token with a comment at its end', `write ${SECRET}#ci`, /expected a token second/],
  ['two tokens', `write ${SECRET} ${SECRET}2`, /expected protocols=… or namespaces=… behind the token$/],
  ['protocols without their name', `write ${SECRET} nx`, /expected protocols=… or namespaces=…/],
  ['a name alone', `write ${SECRET} namespaces`, /expected protocols=… or namespaces=…/],
  ['an unknown name', `write ${SECRET} protocol=nx`, /expected protocols=… or namespaces=…/],
  ['protocols twice', `write ${SECRET} protocols=nx protocols=bazel`, /expected protocols= once$/],
  ['no protocol', `write ${SECRET} protocols=`, /expected protocols=a,b with nothing empty/],
  ['an empty protocol', `write ${SECRET} protocols=nx,,bazel`, /expected protocols=a,b with nothing empty/],
  ['blanks behind a comma', `write ${SECRET} protocols=nx, bazel`, /expected protocols=a,b with nothing empty/],
  ['a protocol that none is named like', `write ${SECRET} protocols=NX`, /^tokens:4: protocols=: expected names/],
  ['no namespace', `write ${SECRET} namespaces=`, /expected namespaces=a,b with nothing empty/],
  ['what is no percent-encoding', `write ${SECRET} namespaces=${SECRET}%`, /percent-encoded where need be$/],
] as const) {
  test(`${what} is refused with its line, and nothing of it shown`, (t) => {
    const error = t.throws(() => parseTokenLines(`# tokens\n\nread aaaaaaaaaaaaaaaa\n${line}\n`, 'tokens'), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message,
    });
    t.regex(error?.message ?? '', /^tokens:4: /);
    t.false(inspect(error).includes('S3CRET'));
  });
}

const token = fc
  .tuple(fc.stringMatching(/^[\w.~+/-]{1,30}$/), fc.constantFrom('', '=', '=='))
  .map((parts) => parts.join(''));
const entry = fc.record(
  {
    token,
    level: fc.constantFrom('read', 'write'),
    protocols: fc.array(fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,8}$/), { minLength: 1, maxLength: 3 }),
    namespaces: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['token', 'level'] },
);

test('whatever is written is read', (t) => {
  fc.assert(
    fc.property(fc.array(entry), fc.constantFrom('\n', '\r\n'), (entries, newline) => {
      const lines = entries.map(({ level, token, protocols, namespaces }) =>
        [
          level,
          token,
          ...(protocols ? [`protocols=${protocols.join(',')}`] : []),
          ...(namespaces ? [`namespaces=${namespaces.map(encodeURIComponent).join(',')}`] : []),
        ].join(' '),
      );
      const found = parseTokenLines(lines.join(newline), 'tokens');
      t.deepEqual(
        found.map(({ entry }) => entry),
        // fast-check's records have no prototype
        entries.map((each) => ({ ...each })),
      );
    }),
  );
});

test('garbage is refused as such, and nothing of it shown', (t) => {
  const word = fc.oneof(
    fc.constantFrom('read', 'write', 'protocols=', 'namespaces=', 'protocols=nx', '#', '%', '='),
    fc.string({ unit: 'binary' }),
  );
  const reasons = new Set<string>();
  fc.assert(
    fc.property(fc.array(word), fc.constantFrom(' ', '\t', '\n'), (words, between) => {
      try {
        parseTokenLines(words.join(between), 'tokens');
      } catch (error) {
        t.like(error, { code: 'ERR_HOTBLOB_INVALID_OPTION' });
        reasons.add(String(error).replace(/^HotblobError: tokens:\d+: /, ''));
      }
    }),
    { numRuns: 2000 },
  );
  // One for each rule; if any showed what it has found, there would be hundreds.
  t.true(reasons.size >= 2 && reasons.size <= 8, [...reasons].join('\n'));
});
