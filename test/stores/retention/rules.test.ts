import test from 'ava';
import { RetentionRules } from '../../../src/stores/retention/rules.js';
import { refusal } from '../fixture.js';

const MIB = 2 ** 20;

test('a key belongs to the first rule that matches it, otherwise to the rest', (t) => {
  const rules = new RetentionRules([
    { scope: 'pr/*', protocol: 'bazel', maxAgeMs: 1 },
    { scope: 'pr/*', maxBytes: 2 },
    { namespace: 'web', maxAgeMs: 3, maxBytes: 4 },
  ]);
  const indexOf = (key: string): number => rules.groupOf(key).index;
  t.is(indexOf('.scopes/pr%2f7/bazel/cas/ab'), 1);
  t.is(indexOf('.scopes/pr%2f7/turborepo/teams/web/ab'), 2);
  t.is(indexOf('turborepo/teams/web/ab'), 3);
  t.is(indexOf('turborepo/teams/app/ab'), 0);
  t.deepEqual(
    rules.groups.map(({ maxBytes, maxAgeMs, isProtected }) => [maxBytes, maxAgeMs, isProtected]),
    [
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, false],
      [Number.POSITIVE_INFINITY, 1, false],
      [2, Number.POSITIVE_INFINITY, true],
      [4, 3, true],
    ],
  );
  t.is(rules.minAgeMs, 1);
  t.is(new RetentionRules([{ maxBytes: 1 }]).minAgeMs, undefined);
});

test('the limits of the rules may take the whole limit of the store, but no more', (t) => {
  const rules = [{ scope: 'a', maxBytes: MIB }, { scope: 'b', maxBytes: 2 * MIB }, { maxAgeMs: 1 }];
  t.notThrows(() => new RetentionRules(rules, 3 * MIB));
  t.throws(
    () => new RetentionRules(rules, 3 * MIB - 1),
    refusal(
      'ERR_HOTBLOB_INVALID_OPTION',
      /^retain: expected rules whose maxBytes add up to at most maxBytes of the store, 3145727 \(3 MiB\), received 3145728 \(3 MiB\); raise maxBytes of the store, or lower that of a rule$/,
    ),
  );
});

test('refuses invalid rules and names the rule, what it expected and what it received', (t) => {
  const cases: [unknown, RegExp][] = [
    [{ scope: 'a' }, /^retain: expected an array of at most 32 rules, received \{ scope: 'a' \}$/],
    [Array(33).fill({ maxBytes: 1 }), /^retain: expected an array of at most 32 rules/],
    [['pr'], /^retain\[0\]: expected a rule, such as .*, received 'pr'$/],
    [
      [{ maxBytes: 1 }, { scope: 'pr/*' }],
      /^retain\[1\]: expected a rule with maxAgeMs, maxBytes or both, received \{ scope: 'pr\/\*' \}$/,
    ],
    [
      [{ maxAge: 1 }],
      /^unknown option 'retain\[0\]\.maxAge'; expected one of scope, namespace, protocol, maxAgeMs, maxBytes$/,
    ],
    [[{ maxAgeMs: 0 }], /^retain\[0\]\.maxAgeMs: expected a whole number, 1 or more, received 0$/],
    [[{ maxBytes: '2GiB' }], /^retain\[0\]\.maxBytes: expected a whole number, 1 or more, received '2GiB'$/],
    [[{ scope: '', maxBytes: 1 }], /^retain\[0\]\.scope: expected .*, received ''$/],
  ];
  for (const [rules, message] of cases) {
    // @ts-expect-error invalid rules are tested
    t.throws(() => new RetentionRules(rules), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
  }
});

test('later changes of the rules by the caller have no effect', (t) => {
  const rule = { scope: 'a', maxBytes: 1 };
  const rules = new RetentionRules([rule]);
  Object.assign(rule, { scope: 'b', maxBytes: 2 });
  t.is(rules.groupOf('.scopes/a/x').maxBytes, 1);
});
