import { inspect } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { parseTokenLines } from '../../src/access/token-lines.js';
import { PROTOCOL_NAMES } from '../../src/cli/serve/protocol-names.js';

const SECRET = 'S3CRET-that-must-not-be-shown';

test('parses every form of a line', (t) => {
  const text = [
    '\uFEFF# access to the cache',
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

test('every protocol of this package is known', (t) => {
  const names = [...PROTOCOL_NAMES, 'hotblob'];
  const [line] = parseTokenLines(`read ${SECRET} protocols=${names.join(',')}`, 'tokens');
  t.deepEqual(line?.entry.protocols, names);
});

test('accepts a file without tokens', (t) => {
  for (const text of ['', '\n', '# no tokens', ' \t\r\n\r\n#\n']) t.deepEqual(parseTokenLines(text, 'tokens'), []);
});

for (const [title, line, message] of [
  ['a token alone', SECRET, /expected one of 'read', 'write' as the first word$/],
  ['a token first', `${SECRET} write`, /expected one of 'read', 'write' as the first word$/],
  ['a level in upper case', `Write ${SECRET}`, /expected one of 'read', 'write' as the first word$/],
  ['a level alone', 'write', /expected a token as the second word/],
  ['a level and a comment', `write # ${SECRET}`, /expected a token as the second word/],
  ['a token in quotes', `write "${SECRET}"`, /expected a token as the second word/],
  ['a token with a comment at its end', `write ${SECRET}#ci`, /expected a token as the second word/],
  ['two tokens', `write ${SECRET} ${SECRET}2`, /expected protocols=…, namespaces=…, scope=…, .* after the token$/],
  ['protocols without their name', `write ${SECRET} nx`, /expected protocols=…, namespaces=…/],
  ['a list name alone', `write ${SECRET} namespaces`, /expected protocols=…, namespaces=…/],
  ['an unknown list name', `write ${SECRET} protocol=nx`, /expected protocols=…, namespaces=…/],
  ['protocols twice', `write ${SECRET} protocols=nx protocols=bazel`, /expected protocols= at most once$/],
  ['an empty list of protocols', `write ${SECRET} protocols=`, /expected protocols=a,b with non-empty/],
  ['an empty protocol', `write ${SECRET} protocols=nx,,bazel`, /expected protocols=a,b with non-empty/],
  ['a space after a comma', `write ${SECRET} protocols=nx, bazel`, /expected protocols=a,b with non-empty/],
  [
    'an abbreviated protocol',
    `write ${SECRET} protocols=nx,turbo`,
    /: name 2 is not a protocol \(did you mean turborepo\?\)/,
  ],
  ['a misspelled protocol', `write ${SECRET} protocols=gradel`, /did you mean gradle\?/],
  ['a protocol name in upper case', `write ${SECRET} protocols=NX`, /^tokens:4: protocols=: .*did you mean nx\?/],
  [
    'a token as a protocol',
    `write ${SECRET} protocols=${SECRET}`,
    /: name 1 is not a protocol; expected bazel, ccache,/,
  ],
  ['an empty list of namespaces', `write ${SECRET} namespaces=`, /expected namespaces=a,b with non-empty/],
  ['an empty scope', `write ${SECRET} scope=`, /expected scope= with the name of a scope/],
  ['a scope with a dot segment', `write ${SECRET} scope=pr/..`, /expected scope= with the name of a scope/],
  ['a scope with a blank', `write ${SECRET} scope=a b`, /after the token$/],
  ['an empty scope to read', `write ${SECRET} reads=main,`, /expected reads=a,b with scopes/],
  ['eight scopes to read', `write ${SECRET} reads=a,b,c,d,e,f,g,h`, /expected reads= with at most 7 scopes$/],
  ['a value of write-once', `write ${SECRET} write-once=${SECRET}`, /after the token$/],
  ['write-once twice', `write ${SECRET} write-once write-once`, /expected write-once at most once$/],
  ['an empty name', `write ${SECRET} name=`, /expected name= with .* not empty/],
  ['a name with a line feed', `write ${SECRET} name=ci%0aroot`, /expected name= with .* no control characters/],
  ['invalid percent-encoding', `write ${SECRET} namespaces=${SECRET}%`, /percent-encoded values$/],
] as const) {
  test(`rejects ${title} with the line number, without the content of the line`, (t) => {
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
const scopeName = fc.stringMatching(/^[\w~%+:@=-]{1,9}(?:\/[\w~%+:@=-]{1,9}){0,2}$/);
const entry = fc.record(
  {
    token,
    level: fc.constantFrom('read', 'write'),
    protocols: fc.array(fc.constantFrom('nx', 'bazel', 'hotblob', 'own'), { minLength: 1, maxLength: 3 }),
    namespaces: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1, maxLength: 3 }),
    scope: scopeName,
    reads: fc.array(scopeName, { minLength: 1, maxLength: 7 }),
    overwrite: fc.constant(false),
    name: fc.string({ unit: 'grapheme', minLength: 1 }).filter((name) => !/[\p{Cc}\p{Cs}]/u.test(name)),
  },
  { requiredKeys: ['token', 'level'] },
);

test('parses every list of tokens that can be written', (t) => {
  fc.assert(
    fc.property(fc.array(entry), fc.constantFrom('\n', '\r\n'), (entries, newline) => {
      const lines = entries.map(({ level, token, protocols, namespaces, scope, reads, overwrite, name }) =>
        [
          level,
          token,
          ...(protocols ? [`protocols=${protocols.join(',')}`] : []),
          ...(namespaces ? [`namespaces=${namespaces.map(encodeURIComponent).join(',')}`] : []),
          ...(scope ? [`scope=${scope}`] : []),
          ...(reads ? [`reads=${reads.join(',')}`] : []),
          ...(overwrite === false ? ['write-once'] : []),
          ...(name ? [`name=${encodeURIComponent(name)}`] : []),
        ].join(' '),
      );
      const parsed = parseTokenLines(lines.join(newline), 'tokens', ['own']);
      t.deepEqual(
        parsed.map(({ entry }) => entry),
        // The records of fast-check have no prototype.
        entries.map((each) => ({ ...each })),
      );
    }),
  );
});

test('rejects random text without showing it', (t) => {
  const word = fc.oneof(
    fc.constantFrom(
      'read',
      'write',
      'protocols=',
      'namespaces=',
      'protocols=nx',
      'scope=',
      'reads=',
      'name=',
      'write-once',
      '#',
      '%',
      '=',
    ),
    fc.string({ unit: 'binary' }),
  );
  const messages = new Set<string>();
  fc.assert(
    fc.property(fc.array(word), fc.constantFrom(' ', '\t', '\n'), (words, between) => {
      try {
        parseTokenLines(words.join(between), 'tokens');
      } catch (error) {
        t.like(error, { code: 'ERR_HOTBLOB_INVALID_OPTION' });
        messages.add(String(error).replace(/^HotblobError: tokens:\d+: /, ''));
      }
    }),
    { numRuns: 2000 },
  );
  // One message for each rule. If a message contained the received text, there would be hundreds.
  t.true(messages.size >= 2 && messages.size <= 12, [...messages].join('\n'));
});
