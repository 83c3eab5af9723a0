import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { ScopeTemplate } from '../../../src/access/oidc/scope-template.js';
import { isScope } from '../../../src/keys/scope.js';

function render(template: string, values: Readonly<Record<string, unknown>>): string | undefined {
  return new ScopeTemplate(template).render((name) => values[name]);
}

test('replaces placeholders with percent-encoded values', (t) => {
  t.is(render('main', {}), 'main');
  t.is(render('pr/{ref}', { ref: 'refs/pull/7/merge' }), 'pr/refs%2Fpull%2F7%2Fmerge');
  t.is(render('pr/{number}', { number: 7 }), 'pr/7');
  t.is(render('{a}/{b}', { a: 'x y', b: "~!*'()%:@" }), 'x%20y/%7E%21%2A%27%28%29%25%3A%40');
  t.is(render('pr/{oidc.circleci.com/vcs-ref}', { 'oidc.circleci.com/vcs-ref': 'é' }), 'pr/%C3%A9');
});

test('no value adds or removes a segment', (t) => {
  t.is(render('pr/{ref}/x', { ref: '..' }), 'pr/%2E%2E/x');
  t.is(render('pr/{ref}', { ref: '.' }), 'pr/%2E');
  t.is(render('pr/{ref}', { ref: '../main' }), 'pr/..%2Fmain');
});

test('a value that is missing, empty or not a single value results in no scope', (t) => {
  for (const ref of [undefined, null, '', [], ['a'], {}, '\ud800']) t.is(render('pr/{ref}', { ref }), undefined);
});

test('a long value ends with its SHA-256', (t) => {
  const ref = `refs/heads/${'feature-'.repeat(60)}`;
  const scope = render('pr/{ref}', { ref }) ?? '';
  t.true(scope.startsWith('pr/refs%2Fheads%2Ffeature-'));
  t.true(scope.endsWith(`~${createHash('sha256').update(ref).digest('hex')}`));
  t.true(isScope(scope));
  // A client that chooses the shortened name as its value gets another scope.
  t.not(render('pr/{ref}', { ref: decodeURIComponent(scope.slice(3)) }), scope);
});

test('different values result in different, valid scopes', (t) => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }),
    fc.string({ unit: fc.constantFrom('.', '/', '~', '%', '2', 'F', 'a'), minLength: 1, maxLength: 6 }),
  );
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(text, text, (a, b) => {
      const scope = render('pr/{a}/{b}', { a, b });
      if (scope === undefined) return;
      t.true(isScope(scope), scope);
      t.is(scope.split('/').length, 3);
      const values = JSON.stringify([a, b]);
      t.is(seen.get(scope) ?? values, values);
      seen.set(scope, values);
    }),
    { numRuns: 3000 },
  );
});

for (const [template, message] of [
  ['', /the name of a scope/],
  ['pr/', /the name of a scope/],
  ['../{ref}', /the name of a scope/],
  ['pr {ref}', /the name of a scope/],
  ['pr/{}', /each placeholder as \{claim\}/],
  ['pr/{ref', /each placeholder as \{claim\}/],
  ['pr/ref}', /each placeholder as \{claim\}/],
  ['pr/{a}{b}', /a "\/" between placeholders/],
  ['pr/{a}-{b}', /a "\/" between placeholders/],
  ['{a}/{b}/{c}/{d}', /fewer placeholders/],
] as const) {
  test(`rejects '${template}'`, (t) => {
    t.throws(() => new ScopeTemplate(template), { message });
  });
}

const OVERLAPS: readonly (readonly [a: string, b: string, overlaps: boolean])[] = [
  ['{ref}', 'main', true],
  ['m{ref}', 'main', true],
  ['main{ref}', 'main', false],
  ['pr/{ref}', 'main', false],
  ['{ref}', 'pr/main', false],
  ['a.{ref}', 'abc', false],
  ['main', 'main', true],
  ['{repository}/main', '{repository}/{head_ref}', true],
  ['main/{repository}', '{environment}/{repository}', true],
  ['main/{repository}', 'pr/{repository}/{ref}', false],
  ['branch/{ref}', 'branch/{ref}/x', false],
  ['a-{x}', '{y}-b', true],
  ['a:{x}', '{y}', false],
  ['{x}/a', '{y}/b', false],
  ['{x}a', '{y}b', false],
  ['{x}a', 'a{y}', true],
];

for (const [a, b, overlaps] of OVERLAPS) {
  test(`'${a}' and '${b}' can ${overlaps ? '' : 'not '}result in the same scope`, (t) => {
    t.is(new ScopeTemplate(a).overlaps(new ScopeTemplate(b)), overlaps);
    t.is(new ScopeTemplate(b).overlaps(new ScopeTemplate(a)), overlaps);
  });
}
