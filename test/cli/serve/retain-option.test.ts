import test from 'ava';
import { UsageError } from '../../../src/cli/command.js';
import { parseRetain } from '../../../src/cli/serve/retain-option.js';

const GIB = 2 ** 30;
const DAY_MS = 86_400_000;

test('parses rules in their order', (t) => {
  t.is(parseRetain(undefined, undefined), undefined);
  const none = {
    scope: undefined,
    namespace: undefined,
    protocol: undefined,
    maxAgeMs: undefined,
    maxBytes: undefined,
  };
  t.deepEqual(
    parseRetain([' scope=pr/*  max-age=7d max-size=2GiB ', 'protocol=bazel namespace=a=b max-age=1.5h'], 2 * GIB),
    [
      { ...none, scope: 'pr/*', maxAgeMs: 7 * DAY_MS, maxBytes: 2 * GIB },
      { ...none, protocol: 'bazel', namespace: 'a=b', maxAgeMs: 5_400_000 },
    ],
  );
});

test('refuses other text, and says what is wrong and what was expected', (t) => {
  const cases: [string, string][] = [
    [
      'scop=pr max-age=1d',
      "--retain: unknown word 'scop' (did you mean scope?); expected words such as 'scope=pr/* max-age=7d max-size=2GiB'",
    ],
    ['', "--retain: unknown word ''; expected words such as 'scope=pr/* max-age=7d max-size=2GiB'"],
    ['scope= max-age=1d', "--retain: scope: expected a value, such as 'scope=pr/* max-age=7d max-size=2GiB'"],
    ['scope=a scope=b max-age=1d', '--retain: scope: expected once in a rule, received several times'],
    [
      'scope=a',
      "--retain: expected max-age, max-size or both, received 'scope=a'; for example 'scope=pr/* max-age=7d max-size=2GiB'",
    ],
    ['max-age=7', "--retain: max-age: expected a time such as 7d, 12h or 30m, received '7' (did you mean 7d?)"],
    ['max-age=0d', "--retain: max-age: expected a time such as 7d, 12h or 30m, received '0d'"],
    ['max-size=2XB', "--retain: max-size: expected a size such as 50GiB, received '2XB'"],
    ['max-size=0', "--retain: max-size: expected a size from 1, received '0'"],
  ];
  for (const [text, message] of cases)
    t.throws(() => parseRetain([text], undefined), { instanceOf: UsageError, message });
  t.throws(() => parseRetain(['protocol=bazl max-age=1d'], undefined), {
    message: /^--retain: protocol: unknown protocol 'bazl' \(did you mean bazel\?\); expected one of bazel, ccache, /,
  });
});

test('refuses sizes that add up to more than --max-size', (t) => {
  const rules = ['scope=a max-size=1GiB', 'scope=b max-size=2GiB', 'max-age=1d'];
  t.is(parseRetain(rules, 3 * GIB)?.length, 3);
  t.throws(() => parseRetain(rules, 2.5 * GIB), {
    instanceOf: UsageError,
    message:
      '--retain: expected values of max-size that add up to at most --max-size, 2.5 GiB, received 3 GiB; raise --max-size, or lower a max-size',
  });
});
