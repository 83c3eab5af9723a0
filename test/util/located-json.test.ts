import test from 'ava';
import fc from 'fast-check';
import { JsonSyntaxError, parseLocatedJson } from '../../src/util/located-json.js';

test('returns the same value as JSON.parse', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2, '\t'), (value, indentation) => {
      const text = JSON.stringify(value, null, indentation);
      t.deepEqual(parseLocatedJson(text).value, JSON.parse(text));
    }),
  );
});

test('accepts what JSON.parse accepts, except names that occur twice', (t) => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"a"',
    '"b"',
    '1',
    '-0',
    '01',
    '1.',
    '1e5',
    'true',
    'nul',
    ' ',
    '\n',
    '"\\x"',
    '"\t"',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const text = pieces.join('');
      const isValid = (parse: () => unknown): boolean | string => {
        try {
          parse();
          return true;
        } catch (error) {
          return error instanceof Error && error.message.includes('twice');
        }
      };
      const result = isValid(() => parseLocatedJson(text));
      const isTwice = /("[ab]").*\1/s.test(text);
      if (!isTwice)
        t.is(
          result,
          isValid(() => JSON.parse(text)),
          text,
        );
    }),
    { numRuns: 5000 },
  );
});

test('knows where each value is', (t) => {
  const { positionOf } = parseLocatedJson('\uFEFF{\r\n  "rules": [\n    { "level": "read" },\n    7\n  ]\n}\n');
  t.deepEqual(positionOf([]), { line: 1, column: 1 });
  t.deepEqual(positionOf(['rules']), { line: 2, column: 12 });
  t.deepEqual(positionOf(['rules', 0, 'level']), { line: 3, column: 16 });
  t.deepEqual(positionOf(['rules', 1]), { line: 4, column: 5 });
  t.deepEqual(positionOf(['rules', 0, 'when', 'ref']), { line: 3, column: 5 }, 'the value around it');
  t.deepEqual(positionOf(['other']), { line: 1, column: 1 });
});

test('a name of the prototype is a property', (t) => {
  const { value } = parseLocatedJson('{"__proto__": {"a": 1}}');
  t.deepEqual(Object.keys(value as object), ['__proto__']);
});

for (const [text, message, line, column] of [
  ['', 'expected a value, received the end of the file', 1, 1],
  ['{"a": 1,}', 'expected a name in double quotes, received "}"', 1, 9],
  ["{'a': 1}", `expected a name in double quotes, received "'"`, 1, 2],
  ['{\n  "a": 1\n  "b": 2\n}', 'expected "," or "}", received "\\""', 3, 3],
  ['{"a" 1}', 'expected ":", received "1"', 1, 6],
  ['[1 2]', 'expected "," or "]", received "2"', 1, 4],
  ['{"a": yes}', 'expected a value, received "yes"', 1, 7],
  ['{} // comment', 'expected the end of the file, received "/"', 1, 4],
  ['{"a": "x\n"}', 'a string that does not end on its line, or has an invalid escape', 1, 7],
  ['{"a": 1,\n "a": 2}', 'the name "a" occurs twice', 2, 2],
  ['['.repeat(70), 'more than 64 nested values', 1, 66],
] as const) {
  test(`rejects ${JSON.stringify(text.slice(0, 30))}`, (t) => {
    const error = t.throws(() => parseLocatedJson(text), { instanceOf: JsonSyntaxError, message });
    t.deepEqual(error?.position, { line, column });
  });
}
