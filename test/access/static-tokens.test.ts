import { inspect } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import type { AccessLevel } from '../../src/access/policy.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { AccessToken } from '../../src/access/token-set.js';
import { asking, logged } from './fixture.js';

const READER = 'reader-0123456789';
const WRITER = 'writer-0123456789';

test('a token has its level, whoever is not known has none', (t) => {
  const policy = staticTokens([
    { token: READER, level: 'read' },
    { token: WRITER, level: 'write' },
  ]);
  t.is(policy(asking(READER)), 'read');
  t.is(policy(asking(WRITER)), 'write');
  for (const token of [undefined, '', 'x', READER.slice(0, -1), `${READER}0`, READER.toUpperCase()]) {
    t.is(policy(asking(token)), 'none', token);
  }
});

test('without tokens nobody gets in', (t) => {
  t.is(staticTokens([])(asking(READER)), 'none');
  t.is(staticTokens([])(asking(undefined)), 'none');
});

test('anonymous is what everybody may do, and the least that a token is good for', (t) => {
  const tokens: AccessToken[] = [
    { token: READER, level: 'read' },
    { token: WRITER, level: 'write', protocols: ['nx'] },
  ];
  for (const [anonymous, unknown, reader, writer, elsewhere] of [
    ['none', 'none', 'read', 'write', 'none'],
    ['read', 'read', 'read', 'write', 'read'],
    ['write', 'write', 'write', 'write', 'write'],
    [undefined, 'none', 'read', 'write', 'none'],
  ] as const) {
    const policy = staticTokens(tokens, { anonymous });
    t.is(policy(asking(undefined)), unknown);
    t.is(policy(asking('of-another-cache')), unknown);
    t.is(policy(asking(READER)), reader);
    t.is(policy(asking(WRITER)), writer);
    t.is(policy(asking(WRITER, 'bazel')), elsewhere);
  }
});

test('what is given may change afterwards: it has been taken over', (t) => {
  const protocols = ['nx'];
  const tokens: { token: string; level: 'read' | 'write'; protocols: string[] }[] = [
    { token: READER, level: 'read', protocols },
  ];
  const policy = staticTokens(tokens);
  protocols.push('bazel');
  tokens.push({ token: WRITER, level: 'write', protocols });
  t.is(policy(asking(READER, 'bazel')), 'none');
  t.is(policy(asking(WRITER)), 'none');
});

test('the policy does not hold the tokens', (t) => {
  const policy = staticTokens([{ token: WRITER, level: 'write' }]);
  t.false(inspect(policy, { depth: 9, showHidden: true }).includes(WRITER));
});

const RANK: Readonly<Record<AccessLevel, number>> = { none: 0, read: 1, write: 2 };
const token = fc.constantFrom('aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', 'cccccccccccccccc');
const protocol = fc.constantFrom('nx', 'bazel', 'plain');
const namespace = fc.constantFrom('web', 'app', 'Web');
const some = <T>(value: fc.Arbitrary<T>) => fc.option(fc.uniqueArray(value, { minLength: 1 }), { nil: undefined });
const entry: fc.Arbitrary<AccessToken> = fc.record({
  token,
  level: fc.constantFrom('read', 'write'),
  protocols: some(protocol),
  namespaces: some(namespace),
});

test('a token may do what the best of its entries allows, for the protocols and namespaces of that one', (t) => {
  const optional = fc.option(namespace, { nil: undefined });
  const levels = fc.constantFrom<AccessLevel>('none', 'read', 'write');
  fc.assert(
    fc.property(fc.array(entry), levels, token, protocol, optional, (entries, anonymous, shown, name, whose) => {
      const fitting = entries.filter(
        ({ token, protocols, namespaces }) =>
          token === shown &&
          (!protocols || protocols.includes(name)) &&
          (!namespaces || (whose !== undefined && namespaces.includes(whose))),
      );
      const best = Math.max(RANK[anonymous], ...fitting.map(({ level }) => RANK[level]));
      const level = staticTokens(entries, { anonymous })(asking(shown, name, whose));
      t.is(RANK[level as AccessLevel], best); // static tokens answer at once
    }),
    { numRuns: 1000 },
  );
});

const SECRET = 'S3CRET-that-nobody-may-see';

for (const [what, tokens, options, message] of [
  ['no array', SECRET, {}, /^tokens: expected an array, received another string$/],
  ['a map', { [SECRET]: 'write' }, {}, /^tokens: expected an array, received object$/],
  ['a string for an entry', [SECRET], {}, /^tokens\[0\]: expected an object, received another string$/],
  ['null for an entry', [null], {}, /^tokens\[0\]: expected an object, received null$/],
  [
    'an unknown name',
    [{ [SECRET]: 'write' }],
    {},
    /^tokens\[0\]: expected one of the options token, level, protocols, namespaces, found/,
  ],
  ['no token', [{ level: 'read' }], {}, /^tokens\[0\]\.token: expected letters.*, received undefined$/],
  ['an undefined token', [{ token: undefined, level: 'read' }], {}, /^tokens\[0\]\.token: .* received undefined$/],
  ['an empty token', [{ token: '', level: 'read' }], {}, /^tokens\[0\]\.token: .* found an empty string$/],
  [
    'a token with a blank',
    [{ token: `${SECRET} `, level: 'read' }],
    {},
    /^tokens\[0\]\.token: .* found another string$/,
  ],
  ['a token with a line break', [{ token: `${SECRET}\n`, level: 'read' }], {}, /^tokens\[0\]\.token: /],
  ['a token that Bearer cannot carry', [{ token: `${SECRET}é`, level: 'read' }], {}, /^tokens\[0\]\.token: /],
  ['a number for a token', [{ token: 1234567812345678, level: 'read' }], {}, /^tokens\[0\]\.token: .* found number$/],
  ['no level', [{ token: SECRET }], {}, /^tokens\[0\]\.level: expected 'read', 'write', received undefined$/],
  [
    'token and level exchanged',
    [{ token: 'write', level: SECRET }],
    {},
    /^tokens\[0\]\.level: .* found another string$/,
  ],
  ['the level none', [{ token: SECRET, level: 'none' }], {}, /^tokens\[0\]\.level: /],
  [
    'protocols that are no array',
    [{ token: SECRET, level: 'read', protocols: 'nx' }],
    {},
    /^tokens\[0\]\.protocols: expected an array/,
  ],
  [
    'no protocol at all',
    [{ token: SECRET, level: 'read', protocols: [] }],
    {},
    /^tokens\[0\]\.protocols: .* found an array$/,
  ],
  [
    'a protocol that none is named like',
    [{ token: SECRET, level: 'read', protocols: ['Nx'] }],
    {},
    /^tokens\[0\]\.protocols: /,
  ],
  ['no namespace at all', [{ token: SECRET, level: 'read', namespaces: [] }], {}, /^tokens\[0\]\.namespaces: /],
  ['an empty namespace', [{ token: SECRET, level: 'read', namespaces: [''] }], {}, /^tokens\[0\]\.namespaces: /],
  ['an error behind a good entry', [{ token: READER, level: 'read' }, { token: SECRET }], {}, /^tokens\[1\]\.level: /],
  ['a string for the options', [], SECRET, /^options: expected an object, received another string$/],
  [
    'an unknown option',
    [],
    { [SECRET]: 1 },
    /^options: expected one of the options anonymous, received another string$/,
  ],
  [
    'an unknown level for anonymous',
    [],
    { anonymous: SECRET },
    /^anonymous: expected 'none', 'read', 'write', received another string$/,
  ],
] as const) {
  test(`${what} is refused, and no token shown`, (t) => {
    const error = t.throws(() => staticTokens(tokens as never, options as never), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message,
    });
    t.false(inspect(error).includes('S3CRET'));
  });
}

test.serial('a short token is taken and logged, without the token', (t) => {
  const lines = logged(t);
  const policy = staticTokens([
    { token: READER.slice(0, 16), level: 'read' },
    { token: READER.slice(0, 15), level: 'write' },
  ]);
  t.is(policy(asking(READER.slice(0, 15))), 'write');
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /tokens\[1\]: a token of fewer than 16 characters/);
  t.false(lines.join('').includes(READER.slice(0, 15)));
});
