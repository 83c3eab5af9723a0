import { inspect } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import type { AccessLevel } from '../../src/access/grant.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import type { AccessToken } from '../../src/access/token-set.js';
import { accessRequest, captureLog } from './fixture.js';

const READER = 'reader-0123456789';
const WRITER = 'writer-0123456789';

test('a known token has its level, an unknown one has none', (t) => {
  const policy = staticTokens([
    { token: READER, level: 'read' },
    { token: WRITER, level: 'write' },
  ]);
  t.is(policy(accessRequest(READER)), 'read');
  t.is(policy(accessRequest(WRITER)), 'write');
  for (const token of [undefined, '', 'x', READER.slice(0, -1), `${READER}0`, READER.toUpperCase()]) {
    t.is(policy(accessRequest(token)), 'none', token);
  }
});

test('rejects every client if there are no tokens', (t) => {
  t.is(staticTokens([])(accessRequest(READER)), 'none');
  t.is(staticTokens([])(accessRequest(undefined)), 'none');
});

test('anonymous is the minimum level of every client', (t) => {
  const tokens: AccessToken[] = [
    { token: READER, level: 'read' },
    { token: WRITER, level: 'write', protocols: ['nx'] },
  ];
  for (const [anonymous, unknown, reader, writer, otherProtocol] of [
    ['none', 'none', 'read', 'write', 'none'],
    ['read', 'read', 'read', 'write', 'read'],
    ['write', 'write', 'write', 'write', 'write'],
    [undefined, 'none', 'read', 'write', 'none'],
  ] as const) {
    const policy = staticTokens(tokens, { anonymous });
    t.is(policy(accessRequest(undefined)), unknown);
    t.is(policy(accessRequest('unknown-0123456789')), unknown);
    t.is(policy(accessRequest(READER)), reader);
    t.is(policy(accessRequest(WRITER)), writer);
    t.is(policy(accessRequest(WRITER, 'bazel')), otherProtocol);
  }
});

test("anonymous is not valid for the operators' pages if a token has scopes, because they show all scopes", (t) => {
  const reader: AccessToken = { token: READER, level: 'read' };
  const scoped: AccessToken = { token: WRITER, level: 'write', scope: 'pr' };
  const clients = [undefined, 'unknown-0123456789', WRITER];
  const levels = (tokens: readonly AccessToken[]) => {
    const policy = staticTokens(tokens, { anonymous: 'read' });
    return clients.map((token) => policy(accessRequest(token, 'hotblob')));
  };
  t.deepEqual(levels([reader]), ['read', 'read', 'read']);
  t.deepEqual(levels([reader, scoped]), ['none', 'none', 'none']);
  t.is(staticTokens([reader, scoped], { anonymous: 'read' })(accessRequest(undefined)), 'read');
  t.is(staticTokens([reader, scoped])(accessRequest(READER, 'hotblob')), 'read');
});

test('later changes of the arguments have no effect', (t) => {
  const protocols = ['nx'];
  const tokens: { token: string; level: 'read' | 'write'; protocols: string[] }[] = [
    { token: READER, level: 'read', protocols },
  ];
  const policy = staticTokens(tokens);
  protocols.push('bazel');
  tokens.push({ token: WRITER, level: 'write', protocols });
  t.is(policy(accessRequest(READER, 'bazel')), 'none');
  t.is(policy(accessRequest(WRITER)), 'none');
});

test('the policy does not contain the tokens', (t) => {
  const policy = staticTokens([{ token: WRITER, level: 'write' }]);
  t.false(inspect(policy, { depth: 9, showHidden: true }).includes(WRITER));
});

const RANK: Readonly<Record<AccessLevel, number>> = { none: 0, read: 1, write: 2 };
const token = fc.constantFrom('aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', 'cccccccccccccccc');
const protocol = fc.constantFrom('nx', 'bazel', 'plain');
const namespace = fc.constantFrom('web', 'app', 'Web');
const optionalList = <T>(value: fc.Arbitrary<T>) =>
  fc.option(fc.uniqueArray(value, { minLength: 1 }), { nil: undefined });
const entry: fc.Arbitrary<AccessToken> = fc.record({
  token,
  level: fc.constantFrom('read', 'write'),
  protocols: optionalList(protocol),
  namespaces: optionalList(namespace),
});

test('a token has the highest level of its entries for the protocol and the namespace', (t) => {
  const optional = fc.option(namespace, { nil: undefined });
  const levels = fc.constantFrom<AccessLevel>('none', 'read', 'write');
  fc.assert(
    fc.property(fc.array(entry), levels, token, protocol, optional, (entries, anonymous, sent, name, owner) => {
      const matching = entries.filter(
        ({ token, protocols, namespaces }) =>
          token === sent &&
          (!protocols || protocols.includes(name)) &&
          (!namespaces || (owner !== undefined && namespaces.includes(owner))),
      );
      const best = Math.max(RANK[anonymous], ...matching.map(({ level }) => RANK[level]));
      const level = staticTokens(entries, { anonymous })(accessRequest(sent, name, owner));
      t.is(RANK[level as AccessLevel], best); // the policy is synchronous
    }),
    { numRuns: 1000 },
  );
});

const SECRET = 'S3CRET-that-must-not-be-shown';

for (const [title, tokens, options, message] of [
  ['a string instead of the array', SECRET, {}, /^tokens: expected an array, received a string \(not shown\)$/],
  ['an object instead of the array', { [SECRET]: 'write' }, {}, /^tokens: expected an array, received an object$/],
  [
    'a string as an entry',
    [SECRET],
    {},
    /^tokens\[0\]: expected an object such as \{ token, level: 'read' \}, received a string \(not shown\)$/,
  ],
  [
    'null as an entry',
    [null],
    {},
    /^tokens\[0\]: expected an object such as \{ token, level: 'read' \}, received null$/,
  ],
  [
    'an unknown property of an entry',
    [{ [SECRET]: 'write' }],
    {},
    /^tokens\[0\]: unknown option \(not shown\); expected one of token, level, protocols, namespaces, scope, reads, overwrite, name$/,
  ],
  ['a missing token', [{ level: 'read' }], {}, /^tokens\[0\]\.token: expected letters.*, received undefined$/],
  ['an undefined token', [{ token: undefined, level: 'read' }], {}, /^tokens\[0\]\.token: .* received undefined$/],
  ['an empty token', [{ token: '', level: 'read' }], {}, /^tokens\[0\]\.token: .* received an empty string$/],
  [
    'a token with a space',
    [{ token: `${SECRET} `, level: 'read' }],
    {},
    /^tokens\[0\]\.token: .* received a string \(not shown\)$/,
  ],
  ['a token with a line break', [{ token: `${SECRET}\n`, level: 'read' }], {}, /^tokens\[0\]\.token: /],
  ['a token that Bearer cannot carry', [{ token: `${SECRET}é`, level: 'read' }], {}, /^tokens\[0\]\.token: /],
  [
    'a number as a token',
    [{ token: 1234567812345678, level: 'read' }],
    {},
    /^tokens\[0\]\.token: .* received a number$/,
  ],
  ['a missing level', [{ token: SECRET }], {}, /^tokens\[0\]\.level: expected 'read', 'write', received undefined$/],
  [
    'token and level swapped',
    [{ token: 'write', level: SECRET }],
    {},
    /^tokens\[0\]\.level: .* received a string \(not shown\)$/,
  ],
  ['the level none', [{ token: SECRET, level: 'none' }], {}, /^tokens\[0\]\.level: /],
  [
    'a string instead of the protocols',
    [{ token: SECRET, level: 'read', protocols: 'nx' }],
    {},
    /^tokens\[0\]\.protocols: expected a non-empty array/,
  ],
  [
    'an empty list of protocols',
    [{ token: SECRET, level: 'read', protocols: [] }],
    {},
    /^tokens\[0\]\.protocols: .* received an array$/,
  ],
  [
    'a protocol name in upper case',
    [{ token: SECRET, level: 'read', protocols: ['Nx'] }],
    {},
    /^tokens\[0\]\.protocols: /,
  ],
  ['an empty list of namespaces', [{ token: SECRET, level: 'read', namespaces: [] }], {}, /^tokens\[0\]\.namespaces: /],
  ['an empty namespace', [{ token: SECRET, level: 'read', namespaces: [''] }], {}, /^tokens\[0\]\.namespaces: /],
  [
    'an invalid entry after a valid one',
    [{ token: READER, level: 'read' }, { token: SECRET }],
    {},
    /^tokens\[1\]\.level: /,
  ],
  ['a string instead of the options', [], SECRET, /^options: expected an object, received a string \(not shown\)$/],
  [
    'an unknown option',
    [],
    { [SECRET]: 1 },
    /^options: unknown option \(not shown\); expected one of anonymous, protocols$/,
  ],
  [
    'an unknown level as anonymous',
    [],
    { anonymous: SECRET },
    /^anonymous: expected 'none', 'read', 'write', received a string \(not shown\)$/,
  ],
] as const) {
  test(`rejects ${title} without showing a token`, (t) => {
    const error = t.throws(() => staticTokens(tokens as never, options as never), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message,
    });
    t.false(inspect(error).includes('S3CRET'));
  });
}

test.serial('accepts a short token and logs it without the token', (t) => {
  const lines = captureLog(t);
  const policy = staticTokens([
    { token: READER.slice(0, 16), level: 'read' },
    { token: READER.slice(0, 15), level: 'write' },
  ]);
  t.is(policy(accessRequest(READER.slice(0, 15))), 'write');
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /tokens\[1\]: token shorter than 16 characters/);
  t.false(lines.join('').includes(READER.slice(0, 15)));
});
