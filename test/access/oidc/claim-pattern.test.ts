import test from 'ava';
import fc from 'fast-check';
import { ClaimPattern } from '../../../src/access/oidc/claim-pattern.js';

const MATCHES: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
  ['main', 'main', true],
  ['main', 'Main', false],
  ['main', 'main2', false],
  ['', '', true],
  ['', 'a', false],
  ['acme/*', 'acme/web', true],
  ['acme/*', 'acme/', true],
  ['acme/*', 'acme/web/x', false],
  ['acme/*', 'acme2/web', false],
  ['acme/*', 'evil/acme/web', false],
  ['acme/**', 'acme/web/x', true],
  ['acme/***', 'acme/web/x', true],
  ['**/web', 'acme/a/web', true],
  ['*/web', 'acme/a/web', false],
  ['*a*a*', 'banana', true],
  ['v?', 'v1', true],
  ['v?', 'v', false],
  ['v?', 'v/', false],
  ['v?', 'v😀', true],
  ['a.c', 'abc', false],
  ['*', '', true],
  ['*', 'line\nline', true],
  ['**end', 'the end', true],
];

for (const [pattern, text, matches] of MATCHES) {
  test(`'${pattern}' ${matches ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, (t) => {
    t.is(new ClaimPattern(pattern).matches(text), matches);
  });
}

test('wildcards in the text are characters like any other', (t) => {
  t.false(new ClaimPattern('acme/web').matches('acme/*'));
  t.false(new ClaimPattern('acme/web').matches('**'));
  t.false(new ClaimPattern('v1').matches('v?'));
  t.true(new ClaimPattern('v?').matches('v?'));
});

test('agrees with a regular expression', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '?'), maxLength: 8 });
  fc.assert(
    fc.property(text, text, (pattern, value) => {
      const source = pattern.replace(/\*+|\?/g, (wildcard) => {
        if (wildcard === '?') return '[^/]';
        return wildcard === '*' ? '[^/]*' : '.*';
      });
      t.is(new ClaimPattern(pattern).matches(value), new RegExp(`^${source}$`).test(value), `${pattern} ${value}`);
    }),
    { numRuns: 2000 },
  );
});

test('the number of steps grows with the product of the lengths', (t) => {
  // A matcher that backtracks does not finish this in years.
  t.false(new ClaimPattern(`${'*a'.repeat(40)}b`).matches('a'.repeat(4000)));
});
